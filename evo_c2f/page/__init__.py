"""The page of a run, from its data to HTML."""
