"""What a run leaves behind: metrics, checkpoint, pictures, result; and what a person sees meanwhile."""
