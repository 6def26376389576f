"""A recipe's settings: their kinds, defaults and bounds, section by section."""
