"""Trained networks as files that run without this project: each is checked as it is written."""
