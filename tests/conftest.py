"""What tests share: three spaces, the measure of `made_up`, a folder of photographs."""

import os
import signal

import pytest
from browsing import CHROMIUM, DRIVER, FLAGS
from hypothesis import settings
from made_up import NAMES, cost_of, measure_each
from PIL import Image

from evo_c2f.objectives.metric import metric
from evo_c2f.scores.layout import Context
from evo_c2f.space import SearchSpace

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=40)
settings.load_profile("repeatable")

# Who runs the tests in the background may have Ctrl-C ignored, which the processes that they start would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads its token once in a process, and leaves one at home where it finds none: all tests have the same.
os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)


@pytest.fixture(scope="session")
def tiny():
    """2 levels and 1,332 subnets: every genome can be tried."""
    return SearchSpace(3, {1: (8, 16), 2: (16,)}, ("dense", "thin"), (0.5, 1.0), (1, "skip", 2), "dense")


@pytest.fixture(scope="session")
def small():
    """3 levels, so that a path can jump too far, and 5,352 subnets."""
    widths = {0: (8,), 1: (8, 16), 2: (12, 48, 64)}
    return SearchSpace(3, widths, ("dense", "thin"), (0.5, 1.0), (1, 1, 2), "thin")


@pytest.fixture(scope="session")
def large():
    """Millions of subnets: only evolution gets anywhere."""
    widths = {1: (8, 12, 16), 2: (16, 32, 48), 3: (24, 48, 72)}
    return SearchSpace(5, widths, ("dense", "thin", "deep"), (0.5, 1.0, 1.5), (2, 2, 2, 2, 2), "dense")


@pytest.fixture(scope="session")
def costs():
    return cost_of


@pytest.fixture(scope="session")
def measure():
    """Architectures -> rows of NAMES."""
    return measure_each


@pytest.fixture(scope="session")
def names():
    """The metrics of a measured row."""
    return NAMES


@pytest.fixture(scope="session")
def objectives():
    return metric("psnr_y"), metric("macs")


@pytest.fixture(scope="session")
def context_of():
    """A space's context in a store; another checkpoint, another context."""
    return lambda space, checkpoint="weights": Context(space.to_dict(), checkpoint, "images", "protocol")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of six small photographs: parts of the astronaut."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photographs")
    for i in range(6):
        Image.fromarray(data.astronaut()[i * 70 : i * 70 + 130, 100:260]).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium and its driver are absent")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()
