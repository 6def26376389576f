"""Trained networks as files that run without this project: each format is written, and checked on the spot."""
