"""The search space of networks, its genomes, and the grammar of paths."""

from evo_c2f.space.architecture import Architecture, Cell, inner_width
from evo_c2f.space.genomes import Genomes, genome_keys, genome_texts, subnet_id, subnet_ids
from evo_c2f.space.search_space import DEALT, STAGES, SearchSpace, Stage

__all__ = [
    "DEALT",
    "STAGES",
    "Architecture",
    "Cell",
    "Genomes",
    "SearchSpace",
    "Stage",
    "genome_keys",
    "genome_texts",
    "inner_width",
    "subnet_id",
    "subnet_ids",
]
