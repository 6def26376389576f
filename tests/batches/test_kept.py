import pickle

import numpy as np

from supernet.batches.kept import Kept


def picture(n_bytes: int) -> tuple[np.ndarray]:
    return (np.zeros((n_bytes, 1, 1), np.uint8),)


def test_pictures_are_made_once_while_they_fit_and_again_each_time_when_they_do_not():
    kept, made = Kept(100), []

    def get(key: int) -> None:
        kept.get(key, lambda: made.append(key) or picture(40))

    for _ in range(3):
        for key in (1, 2, 3):
            get(key)
    assert made == [1, 2, 3, 3, 3] and kept.bytes == 80 and not kept.complete
    kept.put(4, picture(20))
    assert (len(kept), kept.bytes) == (3, 100)
    kept.clear()
    assert (len(kept), kept.bytes) == (0, 0)


def test_pictures_of_16_bits_and_floats_are_kept_as_they_are():
    for pixels in (np.full((2, 3, 7), 40_000, np.uint16), np.full((2, 3, 1), 0.3, np.float32)):
        (found,) = Kept(1000).get("a", lambda pixels=pixels: (pixels,))
        kept = Kept(1000)
        kept.put("a", (pixels,))
        assert kept.known["a"][0].dtype == found.dtype and np.array_equal(kept.known["a"][0], pixels)


def test_if_only_all_are_to_be_kept_none_is_once_they_do_not_fit():
    kept = Kept(100, partly=False)
    for key in (1, 2, 3, 4):
        kept.put(key, picture(40))
        assert (len(kept), kept.complete) == ((key, True) if key < 3 else (0, False))
    assert kept.bytes == 0 and kept.memory is None


def test_what_is_kept_is_a_copy_with_the_same_pixels():
    kept, pixels = Kept(1000), np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    first, second = kept.get(1, lambda: (pixels, pixels[:, ::-1]))
    first, second = kept.get(1, lambda: ())
    assert np.array_equal(first, pixels) and np.array_equal(second, pixels[:, ::-1])
    assert first.base is not None and not np.shares_memory(first, second) and not np.shares_memory(first, pixels)


def test_what_is_kept_is_complete_until_something_was_too_much():
    kept = Kept(100)
    kept.put(1, picture(100))
    kept.put(1, picture(100))
    assert kept.complete and kept.bytes == 100
    kept.put(2, picture(1))
    assert not kept.complete


def test_another_process_gets_none_of_the_pictures():
    kept = Kept(1 << 20)
    kept.put(1, picture(100_000))
    sent = pickle.dumps(kept)
    assert len(sent) < 200 and pickle.loads(sent).most_bytes == 1 << 20
