"""The processes that measure subnets whose scores are missing."""
