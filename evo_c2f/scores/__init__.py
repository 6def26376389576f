"""The store of all scores, and tables of them."""
