"""How one picture file is decoded and written."""
