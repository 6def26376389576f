"""How pictures are read and split."""
