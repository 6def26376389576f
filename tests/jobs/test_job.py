import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from supernet_fixtures import (
    one_thread,
    random_architectures,
    random_pixels,
    small_space,
    training_settings,
    unexpected,
    write_images,
)

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.sections.data import DataSection
from evo_c2f.sections.training import FinetuneSection, LossesSection, PhaseLossesSection, PhaseSection
from evo_c2f.space import SearchSpace, subnet_ids
from evo_c2f.workflows.session import cores
from supernet import checkpoint
from supernet.batches.kept import Kept
from supernet.data.photograph_data import PhotographData
from supernet.device import choose_device
from supernet.jobs.job import Job, StageTraining
from supernet.metrics.tasks import SuperResolution

SIZE = (64, 64)


def make_job(folder: Path | str | None, seed: int = 0, space: SearchSpace | None = None, **changes: object) -> Job:
    data = {"patch": 8, "batch": 2, "validation_images": 2, "validation_crops": 3, "crop": 32, **changes}
    section = DataSection.model_validate({"folder": None if folder is None else str(folder), **data})
    photographs = PhotographData(section, 4, seed, unexpected)
    return Job(space or small_space(), SuperResolution(4), photographs, seed, torch.device("cpu"))


def check(job: Job, **losses: object) -> None:
    """With the recipe's usual metrics."""
    job.check(training_settings(3, losses=losses), ["psnr_y", "macs"], ["psnr_y"])


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_images(tmp_path / "photos", {f"{seed}.png": random_pixels(48, 60, seed) for seed in range(5)})


# -- the device -----------------------------------------------------------------------------------------


def test_the_device_is_the_one_named_or_the_best_there_is():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:99", "cpu:x", "xpu", "mps:7", "hpu"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(InputError, match=f"device '{name}' is not there"):
        choose_device(name)


# -- the images -----------------------------------------------------------------------------------------


def test_the_images_are_split_by_the_seed(folder):
    training, validation = make_job(folder).data.images
    assert (len(training), len(validation)) == (3, 2)
    assert len({frozenset(p.digest for p in make_job(folder, seed).data.images[1]) for seed in range(8)}) > 1


def test_without_a_folder_the_way_out_is_named():
    with pytest.raises(InputError, match="--data"):
        check(make_job(None))


def test_the_embedded_photographs_are_a_folder_by_name():
    training, validation = make_job("embedded").data.images
    assert (len(training), len(validation)) == (12, 2)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"validation_images": 5}, "5 different images"),
        ({"patch": 13}, "less than the 52"),
        ({"crop": 49}, "less than the 49"),
        ({"patch": 12, "crop": 48, "validation_images": 4}, None),
    ],
)
def test_images_that_cannot_serve_are_refused(folder, changes, refused):
    if refused is None:
        check(make_job(folder, **changes))
    else:
        with pytest.raises(InputError, match=refused):
            check(make_job(folder, **changes))


@pytest.mark.parametrize(
    ("name", "crop", "least"), [("psnr_y", 10, 12), ("ssim_y", 16, 20), ("ssim_rgb", 19, 20), ("lpips", 31, 32)]
)
def test_crops_too_small_to_be_judged_on_are_refused_with_the_setting_and_its_least_value(folder, name, crop, least):
    def check(crop: int) -> Job:
        job = make_job(folder, crop=crop)
        job.check(training_settings(3), [name, "macs"], [])
        return job

    with pytest.raises(InputError, match=f"{name} needs images of at least .*; set data.crop to {least} or more"):
        check(crop)
    job = check(least)
    assert np.isfinite(list(job.score([name]).baseline().values())).all()
    with pytest.raises(InputError, match=f"{name} needs images of at least"):  # as `evolve` on another objective does
        make_job(folder, crop=crop).score([name])


@pytest.mark.parametrize("name", ["HR/img_001.png", "img_001_SRF_4_HR.png"])
def test_an_image_that_stands_in_a_benchmark_of_either_layout_is_refused(folder, tmp_path, name):
    other = write_images(tmp_path / "other", {name: random_pixels(48, 60, 9)})
    check(make_job(folder, benchmarks=[str(other)]))
    same = write_images(tmp_path / "same", {name: random_pixels(48, 60, 3)})
    with pytest.raises(InputError, match=f"3.png is the benchmark image {Path(name).name}"):
        check(make_job(folder, benchmarks=[str(other), str(same)]))


def test_a_benchmark_in_neither_layout_is_named(folder, tmp_path):
    other = write_images(tmp_path / "other", {"a.png": random_pixels(48, 60, 9)})
    with pytest.raises(InputError, match=str(other)):
        check(make_job(folder, benchmarks=[str(other)]))


def test_a_benchmark_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path / "none")):
        check(make_job(folder, benchmarks=[str(tmp_path / "none")]))


def darken_a_validation_image(folder: Path, job: Job) -> None:
    path = folder / job.data.images[1][0].name
    Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)


def rename_all(folder: Path, job: Job) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder / f"renamed {path.name}")


@pytest.mark.parametrize(("act", "changes"), [(darken_a_validation_image, True), (rename_all, False)])
def test_the_datasets_fingerprint_changes_with_the_images_and_not_with_their_names(
    folder, act: Callable[[Path, Job], None], changes
):
    job = make_job(folder)
    before = job.data.fingerprint
    act(folder, job)
    assert (make_job(folder).data.fingerprint != before) is changes


def test_the_datasets_fingerprint_changes_with_how_the_images_are_used(folder):
    jobs = [make_job(folder), make_job(folder, crop=16), make_job(folder, validation_crops=2)]
    assert len({job.data.fingerprint for job in jobs}) == 3


# -- the supernet ---------------------------------------------------------------------------------------


def test_an_unknown_operator_is_named_with_the_known_ones(folder):
    space = SearchSpace(2, {2: (8,)}, ("residual", "nonsense"), (1.0,), (2, 2), "residual")
    with pytest.raises(InputError, match="'nonsense'.*pointwise"):
        check(make_job(folder, space=space))


def test_a_fresh_supernet_depends_on_the_seed_alone(folder):
    torch.manual_seed(123)
    first = make_job(folder, seed=1).supernet().state_dict()
    torch.manual_seed(456)
    again = make_job(folder, seed=1).supernet().state_dict()
    other = make_job(folder, seed=2).supernet().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def train(job, stage, survivors, settings, start, target, on_round=lambda index, loss: None):
    """The ledger that the job tells before the checkpoint is there."""
    told = []

    def finish(ledger, seconds):
        assert seconds > 0 and not target.exists()
        told.append(ledger)

    job.train(StageTraining(stage, survivors, start), settings, target, finish, on_round)
    (ledger,) = told
    return ledger


def test_training_writes_the_averaged_weights_and_leaves_no_state(folder, tmp_path):
    job, target = make_job(folder), tmp_path / "run" / "joint.safetensors"
    ledger = train(job, "joint", None, training_settings(3), None, target)
    assert ledger.rounds == 3
    assert list(target.parent.iterdir()) == [target]
    tensors, metadata = checkpoint.load(target)
    assert metadata["stage"] == "joint"
    assert SearchSpace.from_dict(metadata["space"]) == job.space
    trained, fresh = job.trained(target).state_dict(), job.supernet().state_dict()
    assert all(torch.equal(trained[name], tensor) for name, tensor in tensors.items())
    assert any(not torch.equal(trained[name], fresh[name]) for name in fresh)


def test_an_interrupted_job_goes_on_and_ends_with_the_same_file(folder, tmp_path):
    settings = training_settings(6)

    def interrupt(index: int, loss: float) -> None:
        if index == 4:
            raise KeyboardInterrupt

    with one_thread():
        whole, stopped = tmp_path / "whole" / "joint.safetensors", tmp_path / "stopped" / "joint.safetensors"
        expected = train(make_job(folder), "joint", None, settings, None, whole)
        with pytest.raises(KeyboardInterrupt):
            train(make_job(folder), "joint", None, settings, None, stopped, interrupt)
        assert not stopped.exists()
        ledger = train(make_job(folder), "joint", None, settings, None, stopped)
    assert list(stopped.parent.iterdir()) == [stopped]
    assert checkpoint.fingerprint(stopped) == checkpoint.fingerprint(whole)
    assert ledger.to_dict() == expected.to_dict()


def test_wherever_patches_are_cut_the_weights_are_the_same(folder, tmp_path):
    def on_the_device(data: PhotographData) -> None:
        data.places.free = lambda device: 1 << 30

    def from_files(data: PhotographData) -> None:
        data.kept = Kept(0)

    def from_memory(data: PhotographData) -> None:
        for number in range(len(data.images[0])):
            _ = data.places.pairs[number]
        assert data.places.pairs.at_hand

    prints = []
    with one_thread():
        for prepare in (on_the_device, from_files, from_memory):
            job, target = make_job(folder), tmp_path / prepare.__name__ / "joint.safetensors"
            prepare(job.data)
            train(job, "joint", None, training_settings(4), None, target)
            prints.append(checkpoint.fingerprint(target))
            assert any(job.data.places.stored.values()) == (prepare is on_the_device)
    assert len(set(prints)) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead") and not ended(thread)]


def ended(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def test_a_training_that_was_stopped_is_not_taken_up_with_other_survivors(folder, tmp_path):
    job, target = make_job(folder), tmp_path / "operator.safetensors"
    survivors = np.unique(job.space.random(20, np.random.default_rng(0)), axis=0)[:3]

    def interrupt(index: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(job, "operator", survivors, training_settings(3), None, target, interrupt)
    state = checkpoint.state_of(target)
    before = state.read_bytes()
    with pytest.raises(InputError, match="had other survivors .*; remove .*operator.state.safetensors to train from"):
        train(job, "operator", survivors[:2], training_settings(3), None, target)
    assert state.read_bytes() == before and not target.exists()
    train(job, "operator", survivors, training_settings(3), None, target)
    assert checkpoint.load(target)[1]["survivors"] == subnet_ids(survivors)


def test_a_later_stage_starts_from_the_weights_it_is_given(folder, tmp_path):
    """A level that no survivor visits isn't trained: its weights stay those of the start."""
    job = make_job(folder)
    joint, operator = tmp_path / "joint.safetensors", tmp_path / "operator.safetensors"
    train(job, "joint", None, training_settings(3), None, joint)
    survivors = job.space.reference[None]  # on level 2 alone
    ledger = train(job, "operator", survivors, training_settings(2), joint, operator)
    assert ledger.rounds == 2
    before, after = checkpoint.load(joint)[0], checkpoint.load(operator)[0]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "modules_by_place.head_2.weight" in moved
    assert not any("_3" in name for name in moved)


def test_each_training_draws_its_own_batches_and_rounds(folder, tmp_path):
    seeds, draws = {}, {}

    class Noting(PhotographData):
        def training(self, seed, *args, **more):
            seeds[stage] = seed
            return super().training(seed, *args, **more)

    def stop(index, loss):
        raise KeyboardInterrupt

    job = make_job(folder, seed=5)
    job.data = Noting(job.data.settings, 4, 5, unexpected)
    for stage in ("joint", "operator", "channel", "path"):
        survivors = job.space.reference[None] if stage in ("operator", "channel") else None
        target = tmp_path / f"{stage}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            train(job, stage, survivors, training_settings(3), None, target, stop)
        _, notes = checkpoint.load(checkpoint.state_of(target))
        draws[stage] = notes["rounds"]["rng"]["state"]["inc"]  # a stream's own constant, whatever was drawn from it
    assert len(set(seeds.values())) == 4 == len(set(draws.values()))


def test_a_damaged_checkpoint_is_named(folder, tmp_path):
    path = tmp_path / "joint.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match="joint.safetensors"):
        make_job(folder).trained(path)


def test_the_checkpoint_of_another_space_is_refused_in_one_sentence(folder, tmp_path):
    path = tmp_path / "joint.safetensors"
    other = SearchSpace(2, {2: (8,)}, ("residual",), (1.0,), (2, 2), "residual")
    checkpoint.save(path, make_job(folder, space=other).supernet().state_dict(), {})
    with pytest.raises((InputError, DamagedFileError), match="joint.safetensors"):
        make_job(folder).trained(path)


# -- measuring ------------------------------------------------------------------------------------------


def test_the_search_measures_crops_and_the_front_whole_images(folder):
    job = make_job(folder)
    supernet, (architecture,) = job.supernet(), random_architectures(job.space, 1)
    names = ["psnr_y", "macs", "params"]
    search, full = job.measure(supernet, names, SIZE), job.full_measure(supernet, names, SIZE)
    assert search.names == names
    assert full.names == ["psnr_y_full"]
    assert [tuple(high.shape) for _, high in search.batches] == [(2, 3, 32, 32)]
    assert [tuple(high.shape) for _, high in full.batches] == [(1, 3, 48, 60)] * 2
    (row,), (full_row,) = search([architecture]), full([architecture])
    assert row["psnr_y"] != full_row["psnr_y_full"]
    known = job.costs(SIZE)(architecture)
    assert {name: row[name] for name in ("macs", "params")} == {name: known[name] for name in ("macs", "params")}


def test_without_a_number_of_threads_they_are_the_cores_that_a_scheduler_gave():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


# -- the losses -----------------------------------------------------------------------------------------


def weights_of(job: Job, rounds: int, losses: LossesSection, ends: list[int]) -> list[tuple[float, float]]:
    """The weights of L1 and the spectrum in each round, for phases that end after these rounds."""
    criterion = job.criterion(training_settings(rounds, losses=losses), None, [(end, losses) for end in ends])
    return [(t.weights.l1, t.weights.spectrum) for t in map(criterion.terms, range(rounds))]


@pytest.mark.parametrize("ends", [[], [8], [8, 10], [2, 5, 10], [5]])
def test_l1_stands_alone_in_the_first_rounds_alone_however_many_phases_there_are(folder, ends):
    losses = LossesSection(l1=2.0, spectrum=0.5, pixel_rounds=5)
    assert weights_of(make_job(folder), 10, losses, ends) == [(2.0, 0.0)] * 5 + [(2.0, 0.5)] * 5


def test_a_phase_without_rounds_of_l1_alone_has_none(folder):
    losses = LossesSection(spectrum=0.5)
    assert weights_of(make_job(folder), 4, losses, [2, 4]) == [(1.0, 0.5)] * 4


def test_the_rounds_of_l1_alone_train_where_l1_has_no_weight_later(folder):
    losses = LossesSection(l1=0.0, spectrum=0.5, pixel_rounds=1)
    assert weights_of(make_job(folder), 3, losses, []) == [(1.0, 0.0)] + [(0.0, 0.5)] * 2


def test_without_a_supernet_its_widest_subnet_does_not_guide(folder):
    job = make_job(folder)
    losses = LossesSection(l1=2.0, distillation=1.0)
    settings = training_settings(4, losses=losses)
    guided, alone = (job.criterion(settings, supernet).terms(0) for supernet in (job.supernet(), None))
    assert (guided.weights.l1, guided.weights.distillation) == (2.0, 1.0) and guided.guide
    assert (alone.weights.l1, alone.weights.distillation) == (2.0, 0.0) and alone.guide is None
    phases = [PhaseSection(until=0.5, losses=PhaseLossesSection(distillation=1.0)), PhaseSection(until=1.0)]
    how = FinetuneSection(phases=phases).without_supernet()
    assert how.losses_in_words(losses.without_supernet()) == "1 l1, then 2 l1"
