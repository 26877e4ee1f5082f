"""Looking at demonstrations: pictures from what is stored, plots and numbers."""
