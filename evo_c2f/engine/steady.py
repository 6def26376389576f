"""Steady-state evolution: no worker waits for a generation to end.

A few offspring are bred whenever as many subnets have been measured. They depend only on the order of the measurements,
not on the workers or their number. The order is stored.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination

from evo_c2f.engine.algorithms import make_algorithm
from evo_c2f.engine.problem import StageProblem
from evo_c2f.engine.stage_setup import StageSetup
from evo_c2f.engine.variation import Variation
from evo_c2f.errors import DamagedFileError
from evo_c2f.files import write_text
from evo_c2f.space import Genomes, Stage
from evo_c2f.workers.evaluator import Evaluator, Values

FAILED = " failed"  # ends the line of a subnet that was reported without metrics
BATCHES = 4  # of children in a population: breeding a few at once costs little more than breeding one


class Order:
    """The order in which a search got its measurements, in a file; a resumed search replays it.

    Measurements that were never acknowledged are repeated, and reported in their old place.
    """

    def __init__(self, path: Path, search: object, evaluations: int):
        """search: everything the search depends on, except its number of evaluations. A file of another search is
        discarded.

        A search with more evaluations continues from here; one with fewer replays the first of these.
        """
        head = hashlib.sha256(repr(search).encode()).hexdigest()
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()  # a killed writer leaves half a line
        before, _, longest = lines[0].partition(" ") if lines else ("", "", "")
        same = before == head and longest.isdecimal()
        self.path, self.head = path, head
        self.known = deque(lines[1:]) if same else deque[str]()
        self.evaluations = max(evaluations, int(longest)) if same else evaluations  # of the longest search so far
        self._write()

    def begin_anew_if(self, differs: Callable[[Genomes, bool], bool], evaluations: int) -> None:
        """Forget the order if a genome in it will not be reported as it was.

        differs: told of a genome, and whether it was reported as a failure. evaluations: of this search.
        """
        if any(differs(np.frombuffer(self._key(line), dtype=np.uint8), line.endswith(FAILED)) for line in self.known):
            self.known.clear()
            self.evaluations = evaluations
            self._write()

    def next(self) -> bytes | None:
        """The genome to report next; None: whichever is measured first. DamagedFileError if it is not a genome."""
        return self._key(self.known[0]) if self.known else None

    def add(self, key: bytes, failed: bool) -> None:
        """Record that the genome was reported, and whether as a failure."""
        if self.known:
            self.known.popleft()
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(key.hex() + (FAILED if failed else "") + "\n")

    def _write(self) -> None:
        write_text(self.path, "\n".join([f"{self.head} {self.evaluations}", *self.known, ""]))

    def _key(self, line: str) -> bytes:
        try:
            return bytes.fromhex(line.removesuffix(FAILED))
        except ValueError:
            raise self.damage() from None

    def damage(self) -> DamagedFileError:
        return DamagedFileError(f"{self.path} holds what this search never asked for; remove it to search anew")


class Flight:
    """The subnets that were bred and not reported yet: queued, being measured, or measured."""

    def __init__(self, evaluator: Evaluator, stage: Stage, order: Order):
        self.evaluator, self.stage, self.order = evaluator, stage, order
        self.waiting: deque[Genomes] = deque()
        self.measured: dict[bytes, Values] = {}
        self.bred: dict[bytes, Individual] = {}
        self.n_flying = 0

    def add(self, individual: Individual) -> None:
        genome = individual.X.astype(np.uint8)
        self.bred[genome.tobytes()] = individual
        self.waiting.append(genome)

    def next(self, generation: int) -> tuple[Individual, Values]:
        """The subnet that is reported next, and its metrics."""
        self._take_off(generation)
        key = self.order.next()
        if key is not None and key not in self.bred:
            raise self.order.damage()
        while key not in self.measured if key else not self.measured:
            genome, values = self.evaluator.wait()
            self.n_flying -= 1
            self.measured[genome.tobytes()] = values
            self._take_off(generation)
        key = key or next(iter(self.measured))
        individual, values = self.bred.pop(key), self.measured.pop(key)
        self.order.add(key, bool(np.isnan(values).any()))
        return individual, values

    def differs(self, genome: Genomes, failed: bool) -> bool:
        """Whether a genome that was reported before, maybe as a failure, has or may get other metrics now."""
        if not self.evaluator.knows(genome):  # an order of before failures were noted in it: the store knows
            return failed or bool(self.evaluator.store.failed(genome))
        return failed and bool(np.isfinite(self.evaluator.values(genome)).all())

    def _take_off(self, generation: int) -> None:
        """Keep every worker busy; what is known needs none."""
        while self.waiting and self.n_flying < max(1, self.evaluator.workers.n):  # all may be lost for a while
            genome = self.waiting.popleft()
            if self.evaluator.knows(genome):
                self.measured[genome.tobytes()] = self.evaluator.values(genome)
            else:
                self.evaluator.submit(genome, self.stage, generation)
                self.n_flying += 1


def steady(setup: StageSetup, order: Order, rng: np.random.Generator) -> Iterator[tuple[Genomes, Values]]:
    """Search until the budget is spent; yields a few subnets (n, n_genes) and their metrics at a time, as they are
    reported.

    If the population is at least as large as the number of workers, no worker waits for another.
    """
    budget, seeds = setup.budget, setup.seeds
    population, batch = budget.population, max(1, budget.population // BATCHES)
    variation, bred = Variation(setup.space, setup.stage), set[bytes]()
    first = variation.first_population(population + batch, seeds, rng)
    told: dict[bytes, Values] = {}
    problem = StageProblem(
        setup.space, setup.judge, lambda genomes: np.array([told.pop(genome.tobytes()) for genome in genomes])
    )
    optimiser = make_algorithm(budget, variation, first, bred, batch, problem.n_obj)
    optimiser.setup(problem, termination=NoTermination(), seed=rng)
    flight, generation, n_told = Flight(setup.evaluator, setup.stage, order), 0, 0
    order.begin_anew_if(flight.differs, budget.evaluations)
    try:
        while True:
            children = optimiser.ask()
            if children is None or not len(children):
                drawn = variation.first_population(4 * population, seeds, rng)
                new = [genome for genome in drawn if genome.tobytes() not in bred]
                children = Population.new("X", np.array(new[:batch]))
            for child in children[: order.evaluations - len(bred)]:
                bred.add(child.X.astype(np.uint8).tobytes())
                flight.add(child)
            n = min(batch, len(flight.bred), budget.evaluations - n_told)
            if not n:
                return
            generation, n_told = generation + 1, n_told + n
            results = [flight.next(generation) for _ in range(n)]
            infills = Population.create(*(individual for individual, _ in results))
            genomes, metrics = infills.get("X").astype(np.uint8), np.array([values for _, values in results])
            told.update(zip((genome.tobytes() for genome in genomes), metrics, strict=True))
            optimiser.evaluator.eval(problem, infills)
            optimiser.tell(infills=infills)
            yield genomes, metrics
    finally:
        setup.evaluator.write()
