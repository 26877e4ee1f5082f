"""Training: configuration, presets, and the one place that knows the schedule."""
