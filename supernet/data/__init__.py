"""How pictures are read, split and made into batches."""
