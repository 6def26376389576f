"""Trained networks that users bring: read, probed on real images, and run once an image."""
