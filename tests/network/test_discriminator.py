import pytest
import torch
from supernet_fixtures import random_images, randomise

from evo_c2f.errors import InputError
from supernet.network.discriminator import PatchGan, fitting_layers, outputs_along, receptive_field


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_the_receptive_fields_are_those_of_pix2pix(n_layers, field):
    assert receptive_field(n_layers) == field


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_an_output_sees_its_patch_and_no_more(n_layers):
    """Without norm, which looks at the whole image, as the gradient of one output shows."""
    size = 160
    patchgan = randomise(PatchGan(size, 4, n_layers, 0), seed=1)
    image = random_images(1, 3, size, size).requires_grad_()
    x = image
    for convolution in patchgan.convolutions:
        x = torch.nn.functional.leaky_relu(convolution(x), 0.2)
    scores = patchgan.last(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == receptive_field(n_layers)


@pytest.mark.parametrize(("size", "n_layers"), [(256, 3), (512, 3), (128, 3), (96, 2), (64, 2), (48, 1), (16, 1)])
def test_smaller_images_have_smaller_patches(size, n_layers):
    assert fitting_layers(size) == n_layers
    scores, features = PatchGan(size, 4, None, 3)(random_images(2, 3, size, size), random_images(2, 3, size, size))
    along = outputs_along(size, n_layers)
    assert scores.shape == (2, 1, along, along) and len(features) == n_layers + 1


@pytest.mark.parametrize(
    ("size", "n_layers", "way_out"),
    [(32, 4, "at most 3"), (16, 3, "at most 2"), (64, 9, "at most 4"), (4, 1, "larger images"), (4, None, "larger")],
)
def test_one_too_deep_for_the_size_is_refused_with_the_way_out(size, n_layers, way_out):
    with pytest.raises(InputError, match=f"too deep for images of {size}x{size}.*{way_out}"):
        PatchGan(size, 4, n_layers, 3)


def test_the_deepest_that_is_not_refused_judges_several_patches():
    for size, n_layers in ((32, 3), (16, 2), (64, 4)):
        assert PatchGan(size, 4, n_layers, 0)(*[random_images(1, 3, size, size)] * 2)[0].numel() >= 4


@pytest.mark.parametrize("channels", [0, 3])
def test_it_sees_the_input_where_it_is_conditioned_on_it(channels):
    patchgan = randomise(PatchGan(32, 4, None, channels), seed=1)
    image = random_images(1, 3, 32, 32)
    first, second = (patchgan(random_images(1, 3, 32, 32, seed=s), image)[0] for s in (1, 2))
    assert torch.equal(first, second) is (channels == 0)


@pytest.mark.parametrize(("source", "image"), [(1, 3), (3, 1), (2, 4)])
@pytest.mark.parametrize("condition_channels", [0, 3])
def test_a_discriminator_refuses_other_than_rgb_images(source, image, condition_channels):
    patchgan = PatchGan(32, 4, None, condition_channels)
    with pytest.raises(InputError, match="takes RGB images"):
        patchgan(random_images(1, source, 32, 32), random_images(1, image, 32, 32))
