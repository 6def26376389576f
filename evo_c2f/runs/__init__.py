"""A run's folder, its recipe, its stages and its fronts."""
