"""The studies and comparisons, with the trainings that they need."""
