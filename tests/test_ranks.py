"""Several processes that train together: as one would, with one state, and one voice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ranks_worker as worker
from supernet_fixtures import one_thread, random_pixels, write_images

from evo_c2f.errors import InputError
from evo_c2f.lock import writing
from supernet.ranks import ALONE, Ranks, join, told_by_another

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
Ended = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done all that `ranks_worker` does; what torchrun said is in said.txt."""
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder / "photographs", {f"{seed}.png": random_pixels(48, 48, seed) for seed in range(3)})
    (folder / "damaged.state.safetensors").write_bytes(b"nonsense")
    with one_thread():
        worker.plain(folder, ALONE, folder / "begun-alone.state.safetensors", worker.STOP)
    with writing(folder / "locked"):
        line = [*TORCHRUN, str(ROOT / "tests" / "ranks_worker.py"), str(folder)]
        process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        try:
            said = process.communicate(timeout=240)[1]
        finally:
            process.terminate()  # where they wait for each other for ever, torchrun ends them
    assert process.returncode == 0, said
    (folder / "said.txt").write_text(said)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Ended]:
    """What one process comes to on the same batches."""
    with one_thread():
        return {
            "plain": worker.plain(folder, ALONE, folder / "alone.state.safetensors"),
            "adversarial": worker.adversarial(folder, ALONE, folder / "alone-gan.state.safetensors"),
            "broken": worker.adversarial(folder, ALONE, folder / "alone-broken.state.safetensors", broken=5),
        }


def ended(folder: Path, name: str) -> Ended:
    """What both processes came to, which is the same."""
    first, second = (json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(2))
    told = {"setbacks"} & first.keys()  # the first alone is told
    assert all(second[key] == [] for key in told)
    # As text, since NaN is not equal to itself.
    assert str({k: v for k, v in first.items() if k not in told}) == str(
        {k: v for k, v in second.items() if k not in told}
    )
    return first


@pytest.mark.parametrize("name", ["plain", "adversarial", "broken"])
def test_two_processes_end_with_the_same_weights_and_the_curve_of_one(folder, alone, name):
    together = ended(folder, name)  # whose checksums are equal: bit for bit
    assert len(together["curve"]) == len(alone[name]["curve"]) >= worker.ROUNDS
    assert together["curve"] == pytest.approx(alone[name]["curve"], abs=1e-5, nan_ok=True)
    assert together["ledger"] == alone[name]["ledger"]
    assert together["setbacks"] == alone[name]["setbacks"]


def test_a_loss_that_is_not_finite_on_one_process_sends_all_back(folder):
    assert ended(folder, "broken")["setbacks"] == ["5: the loss is not finite"]


def test_a_training_of_two_that_was_stopped_goes_on_in_one(folder, alone):
    stopped = ended(folder, "stopped")
    assert stopped["stopped"] and len(stopped["curve"]) == worker.STOP + 1  # heard with the next round's gradients
    with one_thread():
        resumed = worker.adversarial(folder, ALONE, folder / "stopped.state.safetensors")
    assert stopped["curve"] + resumed["curve"] == pytest.approx(alone["adversarial"]["curve"], abs=1e-5)
    assert resumed["ledger"] == alone["adversarial"]["ledger"]


def test_a_training_of_one_that_was_stopped_goes_on_in_two(folder, alone):
    resumed = ended(folder, "resumed")
    assert resumed["curve"] == pytest.approx(alone["plain"]["curve"][worker.STOP :], abs=1e-5)
    assert resumed["ledger"] == alone["plain"]["ledger"]


def test_a_stop_after_the_last_round_is_heard_by_all(folder):
    stopped = ended(folder, "stopped-last")
    assert stopped["stopped"] and len(stopped["curve"]) == worker.ROUNDS
    assert (folder / "stopped-last.state.safetensors").is_file()


def test_a_damaged_state_ends_all_by_the_firsts_sentence(folder):
    assert "damaged.state.safetensors is damaged" in ended(folder, "damaged")["error"]


def test_a_batch_that_cant_be_dealt_is_refused_in_one_sentence(folder):
    assert ended(folder, "odd") == {"code": 2}
    sentence = "error: a batch of 7 can't be dealt evenly to 2 processes; set a batch of 8"
    assert (folder / "said.txt").read_text().count(sentence) == 1
    assert not (folder / "odd").exists()


def test_a_second_writer_is_refused_in_one_sentence(folder):
    assert ended(folder, "locked") == {"code": 2}
    assert (folder / "said.txt").read_text().count(f"{folder / 'locked'} is being written by process") == 1


def test_ctrl_c_ends_processes_that_the_command_started_and_one_goes_on(folder):
    """As a terminal sends it: to all of them."""
    line = [sys.executable, str(ROOT / "cli.py"), *worker.small_training(folder, "run"), "--devices", "2"]
    said, log = (folder / "run-said.txt").open("w+"), folder / "run" / "log.jsonl"
    process = subprocess.Popen(line, stderr=said, env=ENVIRONMENT, start_new_session=True)
    try:
        until = time.monotonic() + 300
        begun = '"event": "round"'  # of round 100
        while not (log.is_file() and begun in log.read_text()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    said.seek(0)
    assert said.read().count("interrupted; the same command goes on from here") == 1
    state, ledger = folder / "run" / "supernet" / "path.state.safetensors", folder / "run" / "ledger.json"
    assert state.is_file() and not ledger.exists()

    code = "import sys, cli\ntry: cli.main(sys.argv[1:])\nfinally: print('lightning_fabric' in sys.modules)"
    line = [sys.executable, "-c", code, *worker.small_training(folder, "run"), "--device", "cpu"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr  # one process needs no Fabric
    assert json.loads(ledger.read_text())["path"]["rounds"] == 120
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert sorted(events) == ["round", "setting", "setting", "trained"]  # two sittings, of one process that writes


def test_two_machines_train_as_one(folder):
    """As on two machines: an agent of torchrun on each, which meet at the address of one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    machines = f"--nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_endpoint {endpoint} --local_addr 127.0.0.1"
    training = [str(ROOT / "cli.py"), *worker.small_training(folder, "far"), "--device", "cpu"]
    line = [*TORCHRUN[:3], *machines.split(), "--", *training]
    agents = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) for _ in range(2)]
    try:
        said = [agent.communicate(timeout=300)[1] for agent in agents]
    finally:
        for agent in agents:
            agent.terminate()
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert json.loads((folder / "far" / "ledger.json").read_text())["path"]["rounds"] == 120
    events = [json.loads(line)["event"] for line in (folder / "far" / "log.jsonl").read_text().splitlines()]
    assert sorted(events) == ["round", "setting", "trained"]  # of one process that writes


# -- without any process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_parts_of_a_batch_are_equal_and_make_it_up(count):
    parts = [Ranks(rank, count).part(6) for rank in range(count)]
    assert [position for part in parts for position in part] == list(range(6))
    assert {len(part) for part in parts} == {6 // count}


def test_one_process_waits_for_nobody():
    assert join(None, "cpu") is join(1, "auto") is ALONE
    assert ALONE.first and ALONE.average_gradients([], 3.0) == [3.0]
    assert ALONE.from_first(lambda: 5) == ALONE.together(lambda: 5) == 5


@pytest.mark.parametrize(
    ("devices", "device", "environment", "sentence"),
    [
        (2, "cuda:1", {}, "cuda:1 is no choice for 2 processes"),
        (2, "cuda", {}, "2 processes need 2 GPUs, this machine has 0"),
        (3, "cpu", {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "leave --devices 3 out"),
    ],
)
def test_processes_that_cant_be_had_are_refused(monkeypatch, devices, device, environment, sentence):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=sentence):
        join(devices, device)


def test_which_processes_say_nothing_is_known_before_they_meet(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")  # left over from something else: one process is one
    assert not told_by_another(None) and told_by_another(2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    assert not told_by_another(None)
