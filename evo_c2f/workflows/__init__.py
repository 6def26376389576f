"""What the commands and the Python API do, from a search to the use of a model."""
