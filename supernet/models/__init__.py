"""Trained networks as files: written, read, judged and applied to pictures."""
