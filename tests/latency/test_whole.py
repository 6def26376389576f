"""Latencies of whole subnets: exported files in ONNX Runtime, torch modules, and their ratio to the plain network."""

import json
import time

import numpy as np
import onnxruntime
import pytest
import torch
from supernet_fixtures import SUPER_RESOLUTION, fresh_supernet, small_space

from evo_c2f.errors import DamagedFileError, InputError
from supernet.latency import whole
from supernet.latency.exported import actions, runtime
from supernet.latency.table import measure_table, random_map
from supernet.latency.whole import timers
from supernet.timing import timed_in_turn

SIZE, CPU = (64, 96), torch.device("cpu")


@pytest.fixture(scope="module")
def supernet():
    return fresh_supernet(small_space())


@pytest.fixture(scope="module")
def subnets():
    space = small_space()
    return [space.decode(genome) for genome in space.random(4, np.random.default_rng(0))]


def test_networks_that_are_exported_together_compute_what_each_does(supernet, subnets, monkeypatch):
    bound, run = [], onnxruntime.InferenceSession.run_with_iobinding

    def keeping(session, binding):
        run(session, binding)
        bound.append(binding.copy_outputs_to_cpu()[0])

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", keeping)
    networks, image = [supernet.extract(subnet) for subnet in subnets], random_map(3, 2, SIZE)
    for once in actions(networks, [image] * len(networks), CPU):
        once()
    with torch.inference_mode():
        for network, output in zip(networks, bound, strict=True):
            np.testing.assert_allclose(output, network(image).numpy(), atol=1e-5)


def test_torchs_latency_needs_no_table(supernet, subnets):
    assert [*timers(supernet, SIZE, None)] == ["latency_torch_ms"]
    assert timers(supernet, SIZE, None)["latency_torch_ms"](subnets[0]) > 0


def test_the_runtime_is_named_with_its_version_and_provider():
    assert runtime(CPU) == f"ONNX Runtime {onnxruntime.__version__}, CPUExecutionProvider"


def test_a_gpus_latencies_are_not_taken_from_the_cpu(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="install onnxruntime-gpu .* or use --device cpu"):
        measure_table(small_space(), SUPER_RESOLUTION, SIZE, torch.device("cuda"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert runtime(torch.device("cuda")).endswith(", CUDAExecutionProvider")


def test_latencies_of_plain_networks_are_kept_and_grow_by_the_block(monkeypatch, tmp_path):
    monkeypatch.setattr(whole, "PLAIN_WIDTHS", (8, 16))
    file = tmp_path / "plain.json"
    of_plain = whole.plain_line(file, SUPER_RESOLUTION, SIZE, CPU)
    kept = json.loads(file.read_text())
    assert {"8x1", "8x3", "16x1", "16x3"} == set(kept) and min(kept.values()) > 0
    assert of_plain(8, 1) == kept["8x1"] and of_plain(8, 5) == pytest.approx(2 * kept["8x3"] - kept["8x1"])
    assert of_plain(24, 1) == np.inf
    again = whole.plain_line(file, SUPER_RESOLUTION, SIZE, CPU)
    assert again(16, 4) == of_plain(16, 4) and json.loads(file.read_text()) == kept
    file.write_text("[]")
    with pytest.raises(DamagedFileError, match="holds no latencies"):
        whole.plain_line(file, SUPER_RESOLUTION, SIZE, CPU)


def test_actions_that_are_timed_in_turn_run_alternately():
    order, (fast, slow) = [], (0.001, 0.02)
    actions = [lambda: (order.append("fast"), time.sleep(fast)), lambda: (order.append("slow"), time.sleep(slow))]
    times = timed_in_turn(actions, CPU, 3)
    assert order == ["fast", "slow"] * (len(order) // 2) and len(order) >= 2 * 3
    assert 1 <= times[0] < times[1] and times[1] >= 20


def test_a_subnet_is_compared_with_the_plain_network(subnets):
    ratios = whole.ratios_to_plain(subnets[:2], SUPER_RESOLUTION, SIZE, CPU)
    assert len(ratios) == 2 and all(0 < ratio < 10 for ratio in ratios)  # small subnets, 48 channels
