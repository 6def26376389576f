import threading
import time
from itertools import count, islice

import pytest
import torch
from test_patches import SEED, Noise, equal

from supernet.batches.ahead import CPU, Ahead, in_order
from supernet.batches.patches import PatchPairs


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def assert_no_reader_remains() -> None:
    for thread in readers():
        thread.join(5)
    assert not readers()


class Held(Noise):
    """Pairs that are read only once `go` is set; `failing`: cannot be read."""

    def __init__(self, failing: bool = False):
        super().__init__(4)
        self.go, self.failing = threading.Event(), failing

    def __getitem__(self, number):
        assert self.go.wait(5)
        if self.failing:
            raise OSError(f"pair {number} is gone")
        return super().__getitem__(number)


def ahead_of(pairs: Noise) -> tuple[Ahead, PatchPairs]:
    patches = PatchPairs(pairs, 8, 2, SEED)
    return Ahead(patches, CPU), patches


# -- in order -------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_items_whichever_is_done_first():
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item

    assert list(in_order(work, range(30), 4)) == list(range(30))
    assert list(in_order(work, [], 4)) == []
    assert list(islice(in_order(work, count(), 2), 5)) == list(range(5))
    assert_no_reader_remains()


def test_no_more_than_twice_as_many_items_as_threads_are_begun_in_advance():
    begun: list[int] = []
    results = in_order(begun.append, count(), 3)
    for taken in (1, 2, 3):
        next(results)
        time.sleep(0.05)
        assert len(begun) == 6 + taken
    results.close()
    assert_no_reader_remains()


def test_an_error_is_raised_in_its_place_and_ends_the_threads():
    def work(item: int) -> int:
        return 1 // (item - 3)

    results = in_order(work, count(), 2)
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert_no_reader_remains()


def test_the_threads_of_others_keep_their_number_of_threads():
    before = torch.get_num_threads()
    assert list(in_order(lambda item: torch.get_num_threads(), range(3), 2)) == [1, 1, 1]
    assert torch.get_num_threads() == before


# -- batches --------------------------------------------------------------------------------------------


def test_batches_are_the_same_after_a_resume_and_after_jumps_back():
    ahead, patches = ahead_of(Noise(4))
    for index in (500, 501, 502, 500, 501, 499, 0, 1, 1, 7):
        assert equal(ahead[index], patches[index])
    ahead.close()
    assert equal(ahead[3], patches[3])  # a closed one begins anew
    ahead.close()
    assert_no_reader_remains()


def test_while_a_round_runs_the_next_batches_are_read():
    pairs = Held()
    ahead, _ = ahead_of(pairs)
    pairs.go.set()
    _ = ahead[0]
    deadline = time.monotonic() + 5
    while pairs.taken < 2 * 5 and time.monotonic() < deadline:  # two pairs a batch; four batches after the first
        time.sleep(0.005)
    assert pairs.taken == 10
    ahead.close()


def test_a_readers_error_reaches_the_round_that_needs_it_and_the_next_try_begins_anew():
    pairs = Held(failing=True)
    pairs.go.set()
    ahead, patches = ahead_of(pairs)
    for _ in range(2):
        with pytest.raises(OSError, match="is gone"):
            _ = ahead[4]
    assert_no_reader_remains()
    pairs.failing = False
    assert equal(ahead[4], patches[4])
    ahead.close()


def test_once_all_pictures_are_in_memory_no_threads_are_needed():
    pairs = Noise(4)
    ahead, patches = ahead_of(pairs)
    for index in range(6):
        pairs.at_hand = index >= 3
        assert equal(ahead[index], patches[index])
    assert_no_reader_remains()


def test_an_interrupted_wait_ends_the_threads_and_does_not_wait_for_the_reader(monkeypatch):
    pairs = Held()
    ahead, _ = ahead_of(pairs)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)  # as by Ctrl-C while the main thread waits
    with pytest.raises(KeyboardInterrupt):
        _ = ahead[0]
    ahead.close()
    assert time.monotonic() - started < 2
    pairs.go.set()
    assert_no_reader_remains()
    assert pairs.taken <= 4  # the two batches in work; those that waited were dropped
