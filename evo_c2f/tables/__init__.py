"""Public tables of trained networks as search problems."""
