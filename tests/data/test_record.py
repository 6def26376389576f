"""A run knows its pictures by content: they may be moved and renamed, and what is missing is named."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import exit_code, tiny
from supernet_fixtures import random_pixels, unexpected, write_images

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.files import write_text
from evo_c2f.json_text import to_json
from evo_c2f.sections.data import DataSection, PairsSection
from supernet.data.images import Pixels
from supernet.data.pair_data import PairData
from supernet.data.photograph_data import PhotographData
from supernet.jobs.alone import Plan
from supernet.jobs.finetune import Finetuning
from supernet.layouts.record import Record, read_record
from supernet.pictures.pairs import content_hash


def photograph_data(folder: Path, known: Record | None = None, warn: object = unexpected) -> PhotographData:
    numbers = {"patch": 4, "batch": 2, "crop": 16, "validation_images": 2, "validation_crops": 2}
    return PhotographData(DataSection.model_validate({"folder": str(folder), **numbers}), 4, 0, warn, known)


def pair_data(folder: Path, known: Record | None = None, warn: object = unexpected) -> PairData:
    settings = PairsSection.model_validate({"folder": str(folder), "crop": 8, "batch": 2, "validation_images": 2})
    return PairData(settings, 0, warn=warn, known=known)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "old", {f"{seed}.png": random_pixels(20, 24, seed) for seed in range(7)})


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    images = {f"{s}/{i}.png": random_pixels(8, 16, 10 * len(s) + i) for s in ("train", "val", "test") for i in range(4)}
    return write_images(tmp_path / "old", images)


def test_photographs_that_were_moved_and_renamed_are_split_and_drawn_as_before(folder: Path, tmp_path: Path):
    before = photograph_data(folder)
    record = json.loads(json.dumps(before.record()))
    (tmp_path / "new").mkdir()
    for i, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        path.rename(tmp_path / "new" / f"holiday{i}.png")
    after = photograph_data(tmp_path / "new", record)
    assert after.fingerprint == before.fingerprint
    for mine, theirs in zip(after.training((1, 2))[0], before.training((1, 2))[0], strict=True):
        assert mine.equal(theirs)


def test_held_out_photographs_that_are_gone_are_named_and_no_others_take_their_place(folder: Path):
    record = photograph_data(folder).record()
    gone = [name for name, _ in record["held out"]]
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(InputError, match=rf"lacks pictures .*\(held out: 2\): {gone[0]}, {gone[1]}; put them back"):
        _ = photograph_data(folder, record).images


def test_new_photographs_are_named_and_not_used(folder: Path):
    before = photograph_data(folder)
    record = before.record()
    write_images(folder, {f"new{i}.png": random_pixels(20, 24, 100 + i) for i in range(12)})
    said: list[str] = []
    after = photograph_data(folder, record, said.append)
    assert [[p.digest for p in side] for side in after.images] == [[p.digest for p in side] for side in before.images]
    assert len(said) == 1 and "begun without them (12)" in said[0] and said[0].endswith("and 2 others")


def test_pairs_that_were_moved_are_used_as_before_and_a_missing_one_is_named(pairs: Path, tmp_path: Path):
    before = pair_data(pairs)
    record = before.record()
    assert [len(record[use]) for use in ("train", "search", "full")] == [4, 2, 4]
    new = pairs.rename(tmp_path / "new")
    after = pair_data(new, record)
    assert {use: [p.name for p in paths] for use, paths in after.splits.items()} == {
        use: [p.name for p in paths] for use, paths in before.splits.items()
    }
    (new / "train" / "1.png").unlink()
    with pytest.raises(InputError, match=r"lacks pictures .*\(train: 1\): train/1.png"):
        _ = pair_data(new, record).splits


@pytest.mark.parametrize("held_out", [("val", "test"), ("val",)])
def test_only_pairs_without_a_use_are_recorded_as_not_used(pairs: Path, held_out: tuple[str, ...]):
    shutil.copy2(pairs / "test" / "0.png", pairs / "val" / "copy.png")  # pictures are known by content, not by name
    if "test" not in held_out:
        shutil.rmtree(pairs / "test")
    data = pair_data(pairs)
    record = {use: {digest for _, digest in rows} for use, rows in data.record().items()}
    used = set[str]().union(*(record[use] for use in data.splits))
    assert record["not used"] == {content_hash(path) for path in (pairs / "val").iterdir()} - used
    assert bool(record["not used"]) == ("test" in held_out)  # without test/, the final front is judged on all of val/


def test_a_record_that_lists_used_pairs_as_not_used_too_is_still_read(pairs: Path):
    before = pair_data(pairs)
    record = before.record()
    old = {**record, "not used": sorted([*record["not used"], *record["search"]])}  # as older versions wrote it
    after = pair_data(pairs, old)
    assert after.splits == before.splits
    gone = before.splits["search"][0]
    gone.unlink()
    with pytest.raises(InputError, match=rf"lacks pictures .*\(search: 1\): val/{gone.name}"):
        _ = pair_data(pairs, old).splits


def test_a_pair_whose_pixels_are_cut_short_is_refused_as_the_run_begins(pairs: Path):
    path = pairs / "train" / "2.png"
    path.write_bytes(path.read_bytes()[:200])  # the header is whole
    with pytest.raises(InputError, match=r"2.png can't be read"):
        pair_data(pairs).record()


def test_a_record_that_is_none_is_named(tmp_path: Path):
    assert read_record(tmp_path / "data.json") is None
    for text in ("{", "[]", '{"train": [["a"]]}', '{"train": [["a", 3]]}'):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(DamagedFileError, match=r"data.json is damaged"):
            read_record(tmp_path / "data.json")


def test_every_command_takes_moved_data_and_none_takes_others(photographs: Path, tmp_path: Path, capsys):
    old, new, run = tmp_path / "old", tmp_path / "new", tmp_path / "run"
    shutil.copytree(photographs, old)
    first = ("train-supernet", "--run", run, "--threads", 1)
    assert exit_code(*first, "--data", old, *tiny("training.rounds=2")) == 0
    evolve = ("evolve", "--stage", "path", "--evaluations", 4, "--run", run, "--threads", 1)
    finetune = ("finetune", "--run", run, "--threads", 1, "--set", "finetune.rounds=2")
    old.rename(new)
    capsys.readouterr()
    assert exit_code(*evolve) == 2 and f"{old} is no folder; --data takes" in capsys.readouterr().err
    assert exit_code(*first, "--data", new) == 0 and "nothing to train" in capsys.readouterr().err
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["folder"] == str(new)
    moved = new.rename(tmp_path / "moved")
    held_out = [name for name, _ in json.loads((run / "data.json").read_text())["held out"]]
    for name in held_out:
        (moved / name).rename(tmp_path / name)
    capsys.readouterr()
    for words in (evolve, finetune):
        assert exit_code(*words, "--data", moved) == 2
        assert f"{moved} lacks pictures that the run was begun with (held out: 2)" in capsys.readouterr().err
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["folder"] == str(new)
    for name in held_out:
        (tmp_path / name).rename(moved / name)
    assert exit_code(*evolve, "--data", moved) == 0
    (run / "data.json").unlink()
    assert exit_code(*evolve, "--data", moved) == 2 and "kept no record of its pictures" in capsys.readouterr().err


def test_a_model_is_trained_on_from_a_folder_of_another_name_but_not_by_other_settings(tmp_path: Path):
    def begun(**about: object) -> Path:
        return Finetuning(None, tmp_path, None, Plan(), about).begin()  # type: ignore[arg-type]

    begun(data="old/", images=100)
    assert begun(data="new/", images=100) == tmp_path / "model.safetensors"
    with pytest.raises(InputError, match="images is 100 there, 200 here"):
        begun(data="old/", images=200)


def in_splits(height: int, width: int) -> dict[str, Pixels]:
    """Three pictures in train/ and three in val/."""
    names = [f"{split}/{i}.png" for split in ("train", "val") for i in range(3)]
    return {name: random_pixels(height, width, seed) for seed, name in enumerate(names)}


def test_a_small_or_broken_picture_beside_the_splits_keeps_no_run_from_going_on(tmp_path: Path) -> None:
    write_images(tmp_path, in_splits(24, 24) | {"logo.png": random_pixels(8, 8)})
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    numbers = {"patch": 8, "batch": 4, "crop": 16, "validation_images": 2, "validation_crops": 3}
    settings, said = DataSection.model_validate({"folder": str(tmp_path), **numbers}), list[str]()
    before = PhotographData(settings, 2, 0, said.append)
    again = PhotographData(settings, 2, 0, said.append, before.record())
    assert again.record() == before.record() and len(said) == 2 and all("broken.png, logo.png" in one for one in said)


def test_pairs_that_are_held_out_too_are_not_trained_on(tmp_path: Path) -> None:
    images = in_splits(16, 32)
    write_images(tmp_path, images | {"train/copy.png": images["val/1.png"]})
    said = list[str]()
    how = PairsSection.model_validate({"folder": str(tmp_path), "crop": 16, "batch": 2, "validation_images": 1})
    data = PairData(how, 0, warn=said.append)
    assert [path.name for path in data.splits["train"]] == ["0.png", "1.png", "2.png"]
    assert said == ["not trained on, as they are held out too (1): train/copy.png"]
    again = PairData(how, 0, warn=said.append, known=data.record())
    assert again.splits["train"] == data.splits["train"]
    for i in range(3):
        (tmp_path / f"train/{i}.png").unlink()
    with pytest.raises(InputError, match="all pictures of .*train are held out too; add others"):
        _ = PairData(how, 0, warn=said.append).splits


def test_names_that_are_no_text_and_links_that_lead_nowhere_are_no_surprise(tmp_path: Path) -> None:
    root, said = tmp_path / "in", list[str]()
    write_images(root, in_splits(16, 32))
    os.rename(root / "val" / "0.png", os.fsencode(root / "val") + b"/caf\xe9.png")
    how = {"folder": str(root), "crop": 16, "batch": 2, "validation_images": 2}
    data = PairData(PairsSection.model_validate(how), 0, warn=said.append)
    assert len(data.splits["search"]) == 2
    record = tmp_path / "data.json"
    write_text(record, to_json(data.record()))
    assert read_record(record) == data.record()
    (root / "train" / "gone.png").symlink_to(root / "none.png")
    with pytest.raises(InputError, match=r"train/gone.png can't be read: .*No such file"):
        _ = PairData(PairsSection.model_validate(how), 0, warn=said.append).splits
    numbers = {"patch": 8, "batch": 4, "crop": 16, "validation_images": 2, "validation_crops": 3}
    settings = DataSection.model_validate({"folder": str(root / "train"), **numbers})
    assert len(PhotographData(settings, 2, 0, said.append).found[""]) == 3
    assert len(said) == 1 and said[0].startswith("gone.png is left out: ")
