"""Commands that make a model from a front, or use one: finetune, evaluate, export, apply."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.progress import track

from evo_c2f.commands.options import (
    PATH,
    PORT,
    RUNNING,
    find,
    machine_of,
    options,
    quieten,
    search_changes,
    until_the_end,
    within_run,
)
from evo_c2f.commands.terminal import console, show, tell
from evo_c2f.json_text import to_json
from evo_c2f.scores.tables import markdown
from evo_c2f.space import STAGES
from evo_c2f.workers.machine import Machine

if TYPE_CHECKING:
    from supernet.pictures.pairs import Direction

MODEL = click.option(
    "--model", type=PATH, required=True, help="A model: its folder or .safetensors file; evaluate also takes .onnx."
)
SPLIT = click.option("--split", default="test", show_default=True, help="Which folder of a data set of pairs.")
DIRECTION = click.option("--direction", type=click.Choice(["AtoB", "BtoA"]), default="AtoB", show_default=True,
                         help="Which half of a pair is the input.")  # fmt: skip
LOAD_SIZE = click.option(
    "--load-size", type=click.IntRange(min=1), help="Resize pairs to this side first.  [default: as they are]"
)
SIDE = click.IntRange(min=64)
TILE = click.option("--tile", type=click.IntRange(min=16), default=256, show_default=True,
                    help="Cut the input into tiles of this side (pixels); small ones need less memory.")  # fmt: skip


@click.command("finetune")
@options("recipe", "moved", "run", "set", "max", "min", "teacher", *RUNNING, "devices", "tensorboard", "json")
@click.option("--pick", default="knee", show_default=True,
              help="knee of the front, best of several candidates trained alone, or a subnet's id.")  # fmt: skip
@options("candidates", "trial_images")
@click.option("--from-scratch", is_flag=True, help="Start from fresh weights, not from the supernet's.")
@click.option("--name", default="model", show_default=True, callback=within_run,
              help="The model's folder within the run.")  # fmt: skip
def finetune_command(
    pick: str, candidates: int, trial_images: int, from_scratch: bool, name: str, as_json: bool, **given: Any
) -> None:
    """Train one subnet alone into <run>/<name>: a model to evaluate, export and apply.

    --pick best tries candidates of all depths and operators in <run>/trials/, by successive halving.
    """
    from evo_c2f.workflows.finetune import candidates_for, finetune_best
    from evo_c2f.workflows.session import claim, open_together

    quieten(given)
    stack, changes = until_the_end(), (*given["set"], *search_changes(given, STAGES))
    session = open_together(lambda: find(given), machine_of(given), show, changes, given["teacher"])
    ranks = session.ranks
    found = ranks.from_first(lambda: candidates_for(session, pick, candidates, from_scratch))
    ranks.from_first(lambda: claim(session.run, stack))
    result = finetune_best(session, name, found, trial_images, from_scratch)
    if ranks.first:
        click.echo(to_json(result) if as_json else markdown([result]))


@click.command("evaluate")
@MODEL
@click.option("--data", type=PATH, required=True, help="A benchmark (HR/, LR_bicubic/X4/), or a folder of A|B pairs.")
@SPLIT
@DIRECTION
@LOAD_SIZE
@click.option("--metric", "metrics", multiple=True, help="[default: PSNR, SSIM and LPIPS]  Also fid, "
              "fd_vgg, or fid_n200 where there are fewer images than dimensions.")  # fmt: skip
@click.option(
    "--output-size", type=(SIDE, SIDE), metavar="HEIGHT WIDTH", help="State MACs and latency for this output."
)
@options(*RUNNING, "json")
def evaluate_command(
    model: Path,
    data: Path,
    split: str,
    direction: "Direction",
    load_size: int | None,
    metrics: tuple[str, ...],
    output_size: tuple[int, int] | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure a model on a benchmark, image by image and on average, and its costs."""
    from evo_c2f.workflows.use import Images, evaluate, prepare

    images = Images(data, split, direction, load_size)
    result = evaluate(model, images, metrics, output_size, prepare(device, threads))
    if as_json:
        click.echo(to_json(result))
        return
    for name, row in [*result["images"].items(), ("mean", result["mean"])]:
        click.echo(f"{name:24} " + "  ".join(f"{metric} {value:.5g}" for metric, value in row.items()))
    costs, size = result["costs"], result["costs"]["output_size"]
    in_torch = "latency_torch_ms" in costs
    ms, runtime = costs["latency_torch_ms" if in_torch else "latency_ms"], "torch" if in_torch else "ONNX Runtime"
    click.echo(
        f"{costs['params']:.0f} parameters, {costs['size_mb']:.4g} MB; for {size[1]}x{size[0]}: "
        f"{costs['macs'] / 1e9:.4g} G MACs, {ms:.1f} ms in {runtime} on {costs['device']}, {costs['threads']} threads"
    )


FORMATS = ("onnx", "pt2", "openvino", "ncnn", "spandrel")


@click.command("export")
@MODEL
@click.argument("out", type=PATH, required=False)
@click.option("--format", "form", type=click.Choice(FORMATS), default="onnx", show_default=True)
@click.option("--half", is_flag=True, help="Store the weights in 16 bits.")
@click.option("--int8", is_flag=True, help="Write an ONNX file that computes in 8 bits, and tell its loss and time.")
@click.option("--to", type=PATH, metavar="DIR", help="Write a model hub's folder: a card with its metadata, the ONNX "
              "file, the model, sample pictures, and a script that runs it.")  # fmt: skip
@click.option("--run", type=PATH, help="For --int8 and --to: the model's run.  [default: the one that it lies in]")
@options("moved")
@click.option("--opset", type=click.IntRange(min=1), help="ONNX's opset.  [default: torch's]")
@click.option("--input-size", type=(SIDE, SIDE), metavar="HEIGHT WIDTH", help="Fix the size.  [default: any size]")
@click.option("--upsampling", type=click.Choice(("shuffle", "transposed")), default="shuffle", show_default=True,
              help="transposed: shuffle pixels by a fixed convolution, for converters to LiteRT.")  # fmt: skip
@click.option(
    "--sample",
    "samples",
    type=PATH,
    multiple=True,
    help="Check the file on this image, and show it in --to's folder; repeat it.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist; a plain ONNX file beside the model is "
              "replaced without it, if this wrote it.")  # fmt: skip
@options("threads")
def export_command(
    model: Path,
    out: Path | None,
    form: str,
    half: bool,
    int8: bool,
    to: Path | None,
    run: Path | None,
    data: Path | None,
    opset: int | None,
    input_size: tuple[int, int] | None,
    upsampling: str,
    samples: tuple[Path, ...],
    overwrite: bool,
    threads: int | None,
) -> None:
    """Write a model as a file that runs without this project, to OUT or beside the model, with a card."""
    from evo_c2f.workflows.use import export_int8, export_model, hand_over, prepare

    transposed = upsampling == "transposed"
    is_plain = form == "onnx" and not (half or opset or input_size or transposed)
    if to:
        if out or int8 or not is_plain:
            raise click.UsageError("--to goes with --sample, --run, --data and --overwrite alone")
        hand_over(model, to, samples, run, data, Machine("cpu", threads), overwrite)
        return
    if int8:
        if samples or not is_plain:
            raise click.UsageError(
                "--int8 goes with no --format, --half, --opset, --input-size, --upsampling or --sample"
            )
        export_int8(model, out, run, data, Machine("cpu", threads), overwrite)
        return
    if run or data:
        raise click.UsageError("--run and --data are for --int8 and --to alone")
    prepare("cpu", threads)
    export_model(model, out, form, half, opset, input_size, transposed, samples, overwrite)


@click.command("apply")
@MODEL
@click.argument("source", type=PATH, metavar="IN")
@click.argument("out", type=PATH)
@click.option("--overwrite", is_flag=True, help="Replace pictures that exist.")
@click.option("--skip", is_flag=True, help="Skip pictures that exist.")
@TILE
@options(*RUNNING)
def apply_command(
    model: Path, source: Path, out: Path, overwrite: bool, skip: bool, tile: int, device: str, threads: int | None
) -> None:
    """Apply a model to the picture IN, or to every picture in the folder IN; names stay the same in OUT."""
    from evo_c2f.workflows.use import Application, prepare

    where, work = prepare(device, threads), Application(model, source, out, overwrite, skip)
    pairs, n, code = work.pairs, 0, 0
    if not pairs:
        return tell(f"all pictures are in {out} already; there is nothing to do")
    try:
        for _ in track(work.run(tile, where), "applying", len(pairs), console=console):
            n += 1
    except KeyboardInterrupt:
        code = 130
    tell(f"{n} of {len(pairs)} pictures written to {pairs[0][1].parent if len(pairs) > 1 else pairs[0][1]}")
    if n < len(pairs):
        tell("what is there is whole; --skip goes on with the others")
        raise SystemExit(code or 1)


@click.command("demo")
@click.option("--model", "models", type=PATH, multiple=True, required=True,
              help="A model: its folder or .safetensors file; repeat it to compare models.")  # fmt: skip
@click.option("--sample", "samples", type=PATH, multiple=True,
              help="Offer this picture on the page; repeat it.  [default: three photographs]")  # fmt: skip
@TILE
@PORT
@options(*RUNNING)
def demo_command(
    models: tuple[Path, ...], samples: tuple[Path, ...], tile: int, port: int, device: str, threads: int | None
) -> None:
    """Open a page on this machine where models are tried on pictures, side by side; Ctrl-C ends it."""
    from evo_c2f.workflows.use import demo, prepare

    with demo(models, samples, tile, port, prepare(device, threads)) as server, suppress(KeyboardInterrupt):
        tell(f"{server.url} is the page; Ctrl-C ends it")
        server.serve_forever()


COMMANDS: tuple[click.Command, ...] = (
    finetune_command,
    evaluate_command,
    export_command,
    apply_command,
    demo_command,
)
