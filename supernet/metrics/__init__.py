"""The qualities of networks, and the measure that a search gets."""
