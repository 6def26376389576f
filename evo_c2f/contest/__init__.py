"""Searches on tables, compared."""
