"""Of a recipe: the search, its budgets and its limits."""

from typing import Annotated

from pydantic import Field

from evo_c2f.engine.budget import AlgorithmName
from evo_c2f.objectives import metric as metrics
from evo_c2f.objectives.metric import Limit, Metric
from evo_c2f.sections.section import Positive, Section


class EvaluationsSection(Section):
    path: Positive
    operator: Positive
    channel: Positive
    joint: Positive = 300


class SurvivorsSection(Section):
    path: Annotated[int, Field(ge=2)] = 8  # subnets of its front that the next stage starts from, and trains by turns
    operator: Annotated[int, Field(ge=2)] = 8


class SearchSection(Section):
    objectives: list[str] = ["psnr_y", "macs"]
    max: dict[str, float] = {}
    min: dict[str, float] = {}
    rescore: list[str] = []  # further qualities of the final front
    int8: bool = False  # score the final front as files in 8 bits too
    algorithm: AlgorithmName = "nsga2"
    screen: Positive = 1  # offspring bred for each that is measured; a surrogate chooses
    steady_state: bool = False  # breed as subnets are measured, a few at a time; for many workers
    timeout: Annotated[float, Field(gt=0)] | None = None  # seconds that measuring one subnet may take
    population: Annotated[int, Field(ge=4)]
    evaluations: EvaluationsSection
    survivors: SurvivorsSection = SurvivorsSection()
    macs_credit: Annotated[float, Field(ge=0)] = 0.1  # dB of PSNR for each factor e in MACs (docs/decisions/0021)
    latency_table: str | None = None  # of `bench --latency-table`; without it the run makes its own
    output_size: tuple[Positive, Positive] = (720, 1280)  # height, width at which MACs and latency are stated

    def metrics(self) -> tuple[Metric, ...]:
        """The objectives. The first is the quality that decides between networks: the first quality in the recipe."""
        return metrics.objectives(self.objectives, [*self.max, *self.min], self.rescore)

    def limits(self) -> tuple[Limit, ...]:
        """The limits. InputError if they contradict each other."""
        return metrics.limits(self.max, self.min)
