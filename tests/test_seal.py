"""Exported files that are no longer as they were written."""

from pathlib import Path

import pytest
from test_export import export, metadata, network_of

from evo_c2f.errors import DamagedFileError
from supernet.models import read_model
from supernet.seal import check_export

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=["onnx", "pt2"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, network = tmp_path_factory.mktemp("models") / f"m.{request.param}", network_of("pointwise", "x4")
    export.export(network, path, request.param, metadata(network), [], half=False)
    return path


def test_a_turned_bit_in_the_weights_and_half_a_file_are_found(exported: Path, tmp_path: Path) -> None:
    whole, damaged = exported.read_bytes(), tmp_path / exported.name
    check_export(exported)
    weights = network_of("pointwise", "x4").layers[-1].weight.detach().numpy().tobytes()
    at = whole.index(weights) + len(weights) // 2
    for content in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[: len(whole) // 2], whole[:-1]):
        damaged.write_bytes(content)
        with pytest.raises(DamagedFileError, match="export it again"):
            check_export(damaged)


def test_damaged_weights_are_not_run(exported: Path, tmp_path: Path) -> None:
    if exported.suffix != ".onnx":
        pytest.skip("only ONNX files are run here")
    import onnx

    assert {p.key for p in onnx.load(exported).metadata_props} == {"evo_c2f", "evo_c2f_sha256"}
    whole, damaged = exported.read_bytes(), tmp_path / exported.name
    weights = network_of("pointwise", "x4").layers[-1].weight.detach().numpy().tobytes()
    at = whole.index(weights)
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DamagedFileError, match="it is not what was written"):
        read_model(damaged)
