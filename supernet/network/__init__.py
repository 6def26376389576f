"""Operators, the supernet and its subnets, the baselines, and what each costs."""
