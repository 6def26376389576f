"""Whole pieces of work: a search's job, the training of one subnet, benchmarks and studies."""
