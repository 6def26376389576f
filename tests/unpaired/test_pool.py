import numpy as np
import torch

from supernet.unpaired.pool import SIZE, Pool


def passed(pool: Pool, numbers: range, rng: np.random.Generator) -> list[int]:
    """What the pool gives for images that show these numbers, two at a time."""
    pairs = torch.tensor(list(numbers), dtype=torch.float32).view(-1, 2, 1, 1, 1).expand(-1, 2, 3, 2, 2)
    return [int(image.mean()) for pair in pairs for image in pool.exchange(pair, rng)]


def test_half_of_the_outputs_are_exchanged_for_older_ones_once_there_are_fifty():
    pool = Pool()
    first = passed(pool, range(SIZE), np.random.default_rng(0))
    assert SIZE == 50 and first == list(range(50))
    given = passed(pool, range(50, 1050), np.random.default_rng(0))
    older = [number for number, output in zip(given, range(50, 1050), strict=True) if number != output]
    assert 440 < len(older) < 560 and len({*older}) == len(older)  # one that is given is no longer in the pool
    kept = [int(image.mean()) for image in pool.images]
    assert sorted(kept + given) == list(range(50)) + list(range(50, 1050))


def test_the_generator_that_is_passed_in_decides_and_the_state_goes_on():
    pools = [Pool() for _ in range(4)]
    for pool in pools[:3]:
        passed(pool, range(60), np.random.default_rng(1))
    pools[3].restore(pools[0].state(), torch.device("cpu"))
    found = [
        passed(p, range(60, 100), np.random.default_rng(seed)) for p, seed in zip(pools, (2, 2, 3, 2), strict=True)
    ]
    assert found[0] == found[1] == found[3] != found[2]


def test_an_empty_pool_has_an_empty_state():
    pool = Pool()
    passed(pool, range(4), np.random.default_rng(0))
    pool.restore(Pool().state(), torch.device("cpu"))
    assert pool.images == []
