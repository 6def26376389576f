"""The evolutionary search of one stage."""
