"""The subnets that train together in a round, and the ledger of their updates."""
