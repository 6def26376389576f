import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from evo_c2f.errors import DamagedFileError, InputError
from supernet.checkpoint import FORMAT, fingerprint, load, save

TENSORS = {
    "weights/a.b": torch.arange(24.0).reshape(2, 3, 4) - 7,
    "step": torch.tensor(3.0),
    "none": torch.empty(0, 4),
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "a view": torch.arange(12.0).reshape(3, 4).T,
}
METADATA = {"index": 3, "nested": {"big": 2**127, "list": [1, 2.5, None, "ü"]}}


def header_of(metadata: object) -> dict[str, str]:
    return {"evo_c2f": json.dumps(metadata)}


class Exploit:
    """Unpickling it would make the directory."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "folder" / "weights.safetensors"
    save(path, TENSORS, METADATA)
    tensors, metadata = load(path)
    assert metadata == {"format": FORMAT, **METADATA}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_second_save_replaces_the_first_and_leaves_no_partial_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(path, TENSORS, METADATA)
    save(path, {"other": torch.ones(2)}, {})
    assert load(path)[0].keys() == {"other"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("tensors", "metadata"), [({"a": torch.ones(2)}, {"no JSON": object()}), ({"a": "no tensor"}, {})]
)
def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_partial_one(tmp_path, tensors, metadata):
    path = tmp_path / "weights.safetensors"
    save(path, TENSORS, METADATA)
    before = path.read_bytes()
    with pytest.raises((TypeError, AttributeError)):
        save(path, tensors, metadata)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_damaged(tmp_path, kept):
    path = tmp_path / "weights.safetensors"
    save(path, TENSORS | {"large": torch.rand(1000)}, METADATA)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DamagedFileError, match="weights.safetensors is damaged"):
        load(path)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x00" * 64, b"\xff" * 64, b'{"a": 1}'], ids=repr)
def test_another_file_is_damaged(tmp_path, data):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="weights.safetensors is damaged"):
        load(path)


@pytest.mark.parametrize("header", [None, {}, {"other": "1"}], ids=repr)
def test_safetensors_of_another_program_are_no_model_of_this_project(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, path, header)
    with pytest.raises(InputError, match=r"weights\.safetensors is not a model of this project"):
        load(path)


def test_safetensors_that_another_program_has_changed_are_not_only_called_damaged(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(path, {"a": torch.ones(2)}, METADATA)
    with safe_open(path, "pt") as file:
        save_file({"a": file.get_tensor("a").half()}, path, file.metadata())
    with pytest.raises(DamagedFileError, match="another program has changed it.*; put back a copy"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [{"evo_c2f": "no JSON"}, header_of([1]), header_of({}), header_of({"format": "one"})],
    ids=repr,
)
def test_safetensors_whose_header_is_not_as_written_are_damaged(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, path, header)
    with pytest.raises(DamagedFileError, match="weights.safetensors is damaged"):
        load(path)


def test_a_file_of_a_newer_version_says_to_upgrade(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, path, header_of({"format": FORMAT + 1}))
    with pytest.raises(InputError, match=f"format {FORMAT + 1}.*upgrade"):
        load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_and_not_executed(tmp_path, zipped):
    path, made = tmp_path / "weights.safetensors", tmp_path / "made"
    torch.save({"weights": torch.ones(2), "exploit": Exploit(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DamagedFileError):
        load(path)
    assert not made.exists()
    torch.load(path.rename(tmp_path / "weights.pt"), weights_only=False)  # which runs it
    assert made.exists()


def test_the_fingerprint_is_of_the_bytes(tmp_path):
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        save(tmp_path / name, {"a": torch.full((3,), value)}, {})
    a, b, c = (fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 12
