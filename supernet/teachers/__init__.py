"""Trained networks that users bring: read, tried on real images, and run once an image."""
