"""Metrics, the objectives and limits made of them, and Pareto fronts."""
