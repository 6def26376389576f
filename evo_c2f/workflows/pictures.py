"""Draws the pictures of a run, and writes its page."""

import logging

from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.page.html import write_page
from evo_c2f.page.scores import measured as weights_of_stages
from evo_c2f.runs import fronts
from evo_c2f.runs.fronts import Front
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.tables import in_short
from evo_c2f.workflows.session import Session
from supernet.drawing import crops
from supernet.drawing.sheet import draw_sheet, sample_columns
from supernet.metrics.perceptual import COLOURS
from supernet.models.model import load_network

log = logging.getLogger(__name__)
# The networks that `compare` trains.
TRAINED = ("teacher", "narrow-teacher", "searched-from-scratch", "searched-inherited")


def draw_samples(session: Session, front: Front) -> None:
    """Write samples.png: held-out images, by three subnets of a front and by the networks that `compare` trained."""
    run, job = session.run, session.job
    if not can_be_shown(session):
        return
    by_cost = front.frame.sort_values("macs")
    chosen = by_cost.iloc[sorted({0, len(by_cost) // 2, len(by_cost) - 1})]
    supernet = job.trained(run.weights_for(front.stage))
    networks = {name: load_network(run.model(name)).to(job.device) for name in TRAINED if run.model(name).is_file()}
    for genome, row in zip(analysis.genomes_of(chosen), analysis.records(chosen), strict=True):
        title = f"{row['id']}\n{in_short(row['params'])} parameters\n{in_short(row['macs'])} MACs"
        networks[title] = supernet.extract(run.recipe.space.decode(genome))
    target = run.folder / "samples.png"
    draw_sheet(sample_columns(job.data.full(), networks, job.device), target)
    log.info(f"{target}: held-out images, side by side")


def draw_pictures(session: Session) -> None:
    """Write samples.json for the page: crops of held-out images, by subnets of every stage's front."""
    run, job = session.run, session.job
    frame = job.task.frame
    if not can_be_shown(session):
        return
    parts, subnets = crops.parts_of(job.data.full(), frame), {}
    for stage, of_stage in weights_of_stages(run).items():
        if not run.front(stage).is_file():
            continue
        supernet = job.trained(run.weights_for(stage))  # type: ignore[arg-type]
        front = fronts.latest(run, stage)  # type: ignore[arg-type]
        genomes = analysis.genomes_of(front.frame)
        for i in sorted({*crops.spread_evenly(len(genomes)), front.knee}):  # the page shows the knee first
            network = supernet.extract(run.recipe.space.decode(genomes[i]))
            pictures = crops.outputs(network, parts, frame.scale, job.device)
            subnets[f"{of_stage.scores.context}:{front.frame['id'].iloc[i]}"] = pictures
    found = {"baseline": job.task.baseline_name, "columns": crops.comparisons(parts, job.task), "subnets": subnets}
    write_text(run.samples, to_json(found))


def can_be_shown(session: Session) -> bool:
    """Whether the images have 1 or 3 channels; if not, says so."""
    frame = session.job.task.frame
    fits = {frame.input_channels, frame.output_channels} <= {*COLOURS}
    if not fits:
        log.info("there are no sample pictures: these are of 1 or 3 channels alone")
    return fits


def write_report(run: RunFolder) -> None:
    """Write the run's page."""
    write_page(run)
    log.info(f"{run.report}: the run as a page; open it in a browser")
