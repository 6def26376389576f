"""Exported files that are no longer as they were written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import exit_code
from supernet_fixtures import random_images, random_pixels, unexpected, write_images
from test_export import export, metadata, network_of

from evo_c2f.errors import DamagedFileError, InputError
from supernet.models.model import read_model
from supernet.models.seal import HEAD, OLD_HEAD, check_export

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=["onnx", "pt2"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, network = tmp_path_factory.mktemp("models") / f"m.{request.param}", network_of("pointwise", "x4")
    export.export(network, path, request.param, metadata(network), [])
    return path


def test_a_turned_bit_in_the_weights_and_half_a_file_are_found(exported: Path, tmp_path: Path) -> None:
    whole, damaged = exported.read_bytes(), tmp_path / exported.name
    check_export(exported, unexpected)
    weights = network_of("pointwise", "x4").layers[-1].weight.detach().numpy().tobytes()
    at = whole.index(weights) + len(weights) // 2
    for content in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[: len(whole) // 2], whole[:-1]):
        damaged.write_bytes(content)
        with pytest.raises(DamagedFileError, match="export it again"):
            check_export(damaged, unexpected)


def test_damaged_weights_are_not_run(exported: Path, tmp_path: Path) -> None:
    if exported.suffix != ".onnx":
        pytest.skip("only ONNX files are run here")
    import onnx

    assert {p.key for p in onnx.load(exported).metadata_props} == {"evo_c2f", "evo_c2f_seal"}
    whole, damaged = exported.read_bytes(), tmp_path / exported.name
    weights = network_of("pointwise", "x4").layers[-1].weight.detach().numpy().tobytes()
    at = whole.index(weights)
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DamagedFileError, match="it is not what was written"):
        read_model(damaged, unexpected)


def write_doc_string(source: Path, target: Path) -> None:
    import onnx

    model = onnx.load(source)
    model.doc_string = "looked through"
    onnx.save(model, target)


def quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


def to_16_bits(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=False), target)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, network = tmp_path_factory.mktemp("models") / "m.onnx", network_of("pointwise", "x4")
    with torch.no_grad():
        for parameter in network.layers[-1].parameters():
            parameter *= 0.1  # outputs like an image's, as the tolerances are meant
    export.export(network, path, "onnx", metadata(network), [])
    return path


@pytest.mark.parametrize(("rewrite", "within"), [(write_doc_string, 0.0), (quantise, 0.3), (to_16_bits, 0.01)])
def test_a_file_that_another_program_has_rewritten_is_run_with_a_warning(
    sealed: Path, tmp_path: Path, rewrite: Callable[[Path, Path], None], within: float
) -> None:
    rewritten, said, x = tmp_path / "again.onnx", list[str](), random_images(1, 3, 9, 12)
    rewrite(sealed, rewritten)
    model = read_model(rewritten, said.append)
    assert len(said) == 1 and said[0].startswith(f"{rewritten} was rewritten by another program")
    output = model.network(x)
    assert output.dtype == torch.float32
    assert (output - read_model(sealed, unexpected).network(x)).abs().max() <= within
    check_export(rewritten, said.append)
    assert len(said) == 2
    rewritten.write_bytes(rewritten.read_bytes()[:-70])
    with pytest.raises((DamagedFileError, InputError)):
        read_model(rewritten)


def test_a_file_of_an_older_version_is_whole_as_it_was_written_alone(sealed: Path, tmp_path: Path) -> None:
    from supernet.models.seal import _checksum

    old, content = tmp_path / "old.onnx", sealed.read_bytes()[: -64 - len(HEAD)]
    old.write_bytes(content + OLD_HEAD + _checksum(content))
    check_export(old, unexpected)
    old.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) + OLD_HEAD + _checksum(content))
    with pytest.raises(DamagedFileError, match="damaged or rewritten by another program"):
        check_export(old, unexpected)


def test_evaluate_judges_a_rewritten_file_and_says_so(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten = tmp_path / "again.onnx"
    write_doc_string(sealed, rewritten)
    names = {"HR/0.png": random_pixels(64, 64), "LR_bicubic/X4/0x4.png": random_pixels(16, 16)}
    data = write_images(tmp_path / "data", names)
    words = ("evaluate", "--data", data, "--metric", "psnr_y", "--threads", 1, "--model")
    assert exit_code(*words, rewritten) == 0
    said = capsys.readouterr()
    assert f"warning: {rewritten} was rewritten by another program" in said.err and "psnr_y" in said.out
    assert exit_code(*words, sealed) == 0
    whole = capsys.readouterr()
    assert whole.out.splitlines()[:2] == said.out.splitlines()[:2] and whole.err == ""  # below them stands the time


def test_a_file_whose_size_another_program_has_fixed_names_the_images_that_it_does_not_take(
    sealed: Path, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(sealed)
    for place, side in ((0, 1), (2, 8), (3, 8)):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = side
    onnx.save(model, tmp_path / "fixed.onnx")
    network = read_model(tmp_path / "fixed.onnx").network
    assert network(random_images(1, 3, 8, 8)).shape == (1, 3, 32, 32)
    for shape in [(1, 3, 9, 8), (1, 1, 8, 8)]:
        with pytest.raises(InputError, match=rf"fixed.onnx can't run on images \({', '.join(map(str, shape))}\)"):
            network(random_images(*shape))
