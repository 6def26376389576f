"""The Python API: the commands' work from a notebook, with the same results, lock and resume.

run = evo_c2f.search("quick", data="photographs", run="results/mine")
run.front()
model = run.finetune("knee", max={"size_mb": 1.49})
model.export()
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evo_c2f.errors import InputError
from evo_c2f.json_text import to_yaml_value
from evo_c2f.runs import fronts
from evo_c2f.runs.find import begin_run
from evo_c2f.runs.recipe import Recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.analysis import Frame
from evo_c2f.space import Stage
from evo_c2f.workers.machine import Machine
from evo_c2f.workflows.progress import OnProgress, Show, calling, silent

if TYPE_CHECKING:
    from torch import nn

    from evo_c2f.workflows.session import Session

Settings = Mapping[str, Any]  # {"training.rounds": 500}


def search(
    recipe: str | Path | None = None,
    data: str | Path | None = None,
    run: str | Path | None = None,
    on_progress: OnProgress | None = None,
    *,
    settings: Settings | None = None,
    machine: Machine | None = None,
    teacher: str | Path | None = None,
) -> "Run":
    """Train the supernet, search its three stages and write the page, as `cli.py search` does. Returns the run.

    recipe: a name or a .yaml file; None: the recipe of the run in the folder, else `quick`. data: a folder of pictures.
    run: the run's folder; None: results/<recipe>. on_progress(title, done, total, note): called after each step.
    teacher: a trained network to learn from, as `--teacher` names it.
    A stopped call resumes if it is repeated. InputError, before any training, if the settings or the data can't work.
    """
    from evo_c2f.workflows import pictures
    from evo_c2f.workflows.search import search as run_search
    from evo_c2f.workflows.session import begin_training, named_teacher

    show, machine = calling(on_progress) if on_progress else silent, machine or Machine()
    folder, photographs = _path(run), _path(data)
    named = None if recipe is None else str(recipe)

    def begin() -> RunFolder:
        brought = None if teacher is None else named_teacher(str(teacher))
        return begin_run(named, "quick", folder, _changes(settings), photographs, None, brought)

    with ExitStack() as stack:
        session = begin_training(begin, machine, show, stack)
        run_search(session)
        if session.ranks.first:
            session = session.alone()
            pictures.draw_samples(session, fronts.latest(session.run))
            pictures.draw_pictures(session)
            pictures.write_report(session.run)
    return Run(session.run, machine, show)


def load_run(path: str | Path, on_progress: OnProgress | None = None, *, machine: Machine | None = None) -> "Run":
    """The run in a folder. InputError if there is none."""
    return Run(RunFolder.open(Path(path)), machine or Machine(), calling(on_progress) if on_progress else silent)


def load_model(path: str | Path, *, machine: Machine | None = None) -> "Model":
    """The model in a .safetensors file or in a folder, such as one that `hand_over` wrote, or its copy from a hub.

    InputError if there is none, DamagedFileError if it is damaged.
    """
    model = Model(Path(path), machine or Machine())
    _ = model.about  # reads and checks the file
    return model


@dataclass(frozen=True)
class Run:
    """A run: its scores and fronts as pandas frames, and the steps after the search."""

    files: RunFolder
    machine: Machine = field(default_factory=Machine, repr=False)
    show: Show = field(default=silent, repr=False)

    @property
    def folder(self) -> Path:
        return self.files.folder

    @property
    def recipe(self) -> Recipe:
        return self.files.recipe

    def front(self, stage: Stage | None = None) -> Frame:
        """The Pareto front of a stage (None: the one searched last), best first. InputError if there is none."""
        return fronts.latest(self.files, stage).frame

    def scores(self, objectives: Sequence[str] | None = None) -> Frame:
        """All scores, one row a subnet and stage; see `evo_c2f.load_scores`. objectives: None: the search's."""
        wanted = [o.name for o in self.recipe.search.metrics()] if objectives is None else objectives
        return analysis.load_scores(self.folder, objectives=wanted)

    def evolve(self, stage: Stage, settings: Settings | None = None, seed: int | None = None) -> Frame:
        """Search a stage with the run's weights, as `cli.py evolve` does. Returns its front.

        settings: changes of `search.*` settings. seed: for this search; None: the run's.
        """
        from evo_c2f.workflows.search import evolve

        with ExitStack() as stack:
            session = self._session(stack, _changes(settings))
            evolve(session, stage, self.recipe.seed if seed is None else seed, session.hiring())
        return self.front(stage)

    def finetune(
        self,
        pick: str = "knee",
        *,
        max: Mapping[str, float] | None = None,
        min: Mapping[str, float] | None = None,
        name: str = "model",
        from_scratch: bool = False,
        settings: Settings | None = None,
        candidates: int = 16,
        trial_images: int = 3200,
        teacher: str | Path | None = None,
    ) -> "Model":
        """Train one subnet alone into <run>/<name>, as `cli.py finetune` does. Returns the model.

        pick: 'knee' of the front, 'best' of several candidates that are trained alone, or a subnet's id. max, min:
        limits, such as {"size_mb": 1.49}. settings: changes of `finetune.*` settings. candidates, trial_images: only
        for 'best'. teacher: a trained network to learn from; None: that of the run, if it has one.
        """
        from evo_c2f.workflows.finetune import candidates_for, finetune_best

        limits = {"search.max": max or {}, "search.min": min or {}}
        wanted = {f"{side}.{key}": value for side, each in limits.items() for key, value in each.items()}
        with ExitStack() as stack:
            session = self._session(stack, _changes({**wanted, **(settings or {})}), teacher)
            found = candidates_for(session, pick, candidates, from_scratch)
            finetune_best(session, name, found, trial_images, from_scratch)
        return Model(self.folder / name, self.machine)

    def report(self) -> Path:
        """Write the run's page. Returns its file."""
        from evo_c2f.workflows import pictures

        pictures.draw_pictures(self._session(None))
        pictures.write_report(self.files)
        return self.files.report

    def _session(
        self, stack: ExitStack | None, changes: Sequence[str] = (), teacher: str | Path | None = None
    ) -> "Session":
        """A session on the run. stack: makes this process the only writer until it closes; None: claim nothing."""
        from evo_c2f.workflows.session import claim, open_session

        if stack and (self.machine.devices or 1) > 1:
            raise InputError(
                "in Python, a search alone trains on several devices; open the run without Machine(devices=)"
            )
        named = None if teacher is None else str(teacher)
        session = open_session(self.files, self.machine, self.show, changes, teacher=named)
        if stack:
            claim(self.files, stack)
        return session


@dataclass(frozen=True)
class Model:
    """A trained generator. path: its folder or its file."""

    path: Path
    machine: Machine = field(default_factory=Machine, repr=False)

    @property
    def network(self) -> "nn.Module":
        """The frozen module: (b, c, h, w) in 0..1 -> its output, not clamped."""
        from evo_c2f.workflows.use import network_of

        return network_of(self.path)

    @property
    def about(self) -> dict[str, Any]:
        """The metadata in the model's file: metrics on the run's held-out images, costs, training."""
        from evo_c2f.workflows.use import about

        return about(self.path)

    def evaluate(self, data: str | Path, metrics: Sequence[str] = (), **pairs: Any) -> dict[str, Any]:
        """Measure it on a benchmark or a folder of pairs. Returns 'images' (metrics of each), 'mean' and 'costs'.

        metrics: if empty, the defaults. pairs: `split`, `direction` and `load_size`, for a folder of pairs.
        """
        from evo_c2f.workflows.use import Images, evaluate, prepare

        device = prepare(self.machine.device, self.machine.threads)
        return evaluate(self.path, Images(Path(data), **pairs), metrics, None, device)

    def export(
        self,
        out: str | Path | None = None,
        format: Literal["onnx", "pt2", "openvino", "ncnn", "spandrel"] = "onnx",
        half: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Write it as a file that runs without this project, and a card beside it. Returns the file."""
        from evo_c2f.workflows.use import export_model, prepare

        prepare("cpu", self.machine.threads)
        return export_model(self.path, _path(out), format, half, overwrite=overwrite)

    def hand_over(self, folder: str | Path, samples: Sequence[str | Path] = (), overwrite: bool = False) -> Path:
        """Write the folder that a model hub takes, as `cli.py export --to` does. Returns it.

        samples: pictures to show; none: held-out ones of the run that the model lies in.
        """
        from evo_c2f.workflows.use import hand_over

        pictures = [Path(sample) for sample in samples]
        return hand_over(self.path, Path(folder), pictures, None, None, self.machine, overwrite)

    def apply(self, source: str | Path, out: str | Path, overwrite: bool = False, tile: int = 256) -> list[Path]:
        """Apply it to a picture, or to all pictures in a folder. Returns the written files."""
        from evo_c2f.workflows.use import Application, prepare

        work = Application(self.path, Path(source), Path(out), overwrite)
        return list(work.run(tile, prepare(self.machine.device, self.machine.threads)))


def _changes(settings: Settings | None) -> tuple[str, ...]:
    return tuple(f"{key}={to_yaml_value(value)}" for key, value in (settings or {}).items())


def _path(named: str | Path | None) -> Path | None:
    return None if named is None else Path(named)
