"""Trained networks as files: written, read, judged, exported and applied to pictures."""
