import math

import pytest
import torch
from torch import Tensor, nn

from supernet.training.optimizer import MOMENTUM, Muon, is_matrix, make_optimizer, orthogonal, step_used


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "apart"), [(None, 1e-3), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (48, 48)])
def test_singular_values_are_brought_near_1_and_their_vectors_kept(shape, dtype, apart):
    matrices = random(3, *shape)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonal(matrices, dtype) @ right.mT  # diagonal, if the vectors are those of the matrices
    values = torch.diagonal(found, dim1=1, dim2=2)
    assert ((values > 0.4) & (values < 1.3)).all()
    assert (found - torch.diag_embed(values)).abs().max() < apart


def test_each_matrix_is_treated_by_itself():
    matrices = random(4, 8, 72) * torch.tensor([1e-6, 1.0, 1e3, 1e6])[:, None, None]
    for matrix, result in zip(matrices, orthogonal(matrices), strict=True):
        torch.testing.assert_close(orthogonal(matrix[None])[0], result, rtol=1e-3, atol=1e-4)
    assert orthogonal(torch.zeros(1, 8, 8)).abs().max() == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((48, 48, 3, 3), True), ((8, 8, 1, 1), True), ((48, 3, 3, 3), False), ((48, 1, 5, 5), False), ((48,), False)],
)
def test_what_is_a_matrix(shape, expected):
    assert is_matrix(torch.zeros(shape)) is expected


def test_a_matrix_steps_along_its_orthogonalised_momentum():
    weight = nn.Parameter(random(16, 8, 3, 3).to(memory_format=torch.channels_last))
    expected, momentum = weight.detach().clone(), torch.zeros(16, 72)
    optimizer = Muon([weight], lr=0.01)
    for seed in (1, 2, 3):
        gradient = random(16, 8, 3, 3, seed=seed)
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
        flat = gradient.reshape(16, 72)
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * flat
        direction = orthogonal(((1 - MOMENTUM) * flat + MOMENTUM * momentum)[None])[0]
        expected -= 0.01 * 0.2 * math.sqrt(72) * direction.reshape(16, 8, 3, 3)
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-4, atol=1e-6)


def test_all_else_steps_as_by_adam():
    shapes = [(16,), (16, 1, 3, 3), (16, 3, 3, 3)]
    ours, theirs = ([nn.Parameter(random(*shape)) for shape in shapes] for _ in range(2))
    matrix = nn.Parameter(random(8, 8, 1, 1))
    muon = make_optimizer("muon", [*ours, matrix], 0.01, (0.9, 0.99))
    adam = make_optimizer("adam", theirs, 0.01, (0.9, 0.99))
    for seed in (1, 2):
        for parameter in (*ours, *theirs, matrix):
            parameter.grad = random(*parameter.shape, seed=seed)
        muon.step()
        adam.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_a_round_does_not_use_stays_where_it_is():
    used, idle = nn.Parameter(random(8, 8, 3, 3)), nn.Parameter(random(8, 8, 3, 3, seed=1))
    optimizer = Muon([used, idle], lr=0.01)
    for moving in ([used, idle], [used]):
        before = {parameter: parameter.detach().clone() for parameter in (used, idle)}
        for parameter in moving:
            parameter.grad = torch.ones_like(parameter)
        step_used(optimizer, moving)
        for parameter, old in before.items():
            assert torch.equal(parameter, old) is (parameter not in set(moving))
