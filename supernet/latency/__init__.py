"""How long networks take: as torch modules, as exported files, and as sums of parts that were timed once."""
