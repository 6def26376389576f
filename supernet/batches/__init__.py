"""Batches of random patches, cut on the training's device or by threads ahead of the rounds."""
