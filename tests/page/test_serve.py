"""The live page: what it answers, to whom, and that it follows a run which another process writes."""

import http.client
import json
import re
import socket
import threading
import time

import numpy as np
import pytest
from command_line import EVALUATIONS, start, tiny

from evo_c2f.errors import InputError
from evo_c2f.objectives.metric import METRICS, Metric
from evo_c2f.page.local import HOST
from evo_c2f.page.server import open_server, serving
from evo_c2f.runs import recipe
from evo_c2f.runs.recipe import changed
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run", recipe.load("quick"))
    run.keep_recipe()
    return run


@pytest.fixture
def server(run):
    with open_server(run, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(port, path="/data.json", method="GET", **headers):
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.getheader("ETag")


def fill(run, n=6):
    space = run.recipe.space
    genomes = np.concatenate([space.reference[None], space.random(n - 1, np.random.default_rng(0))])
    rows = [{"psnr_y": 25.0 + i, "macs": 1e9 + i} for i in range(n)]
    context = Context(space.to_dict(), "weights", "images", "protocol")
    store = ScoreStore(run.scores, context, {"baseline": {"psnr_y": 24.0}})
    store.append(genomes[:1], rows[:1], "reference", 0, [0.1])
    store.append(genomes[1:], rows[1:], "path", 1, [0.1] * (n - 1))
    return store


def test_the_page_and_its_data_are_all_that_is_served(server):
    status, body, _ = ask(server.server_port, "/")
    assert status == 200 and body.startswith(b"<!doctype html>") and b"connect-src 'self'" in body
    assert json.loads(ask(server.server_port)[1])["rows"]["n_scores"] == 0
    for path in ("/recipe.yaml", "/../recipe.yaml", "/data.json?x=1", "/scores.h5"):
        assert ask(server.server_port, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_but_get_is_answered(server, method):
    assert ask(server.server_port, "/", method)[0] == 501


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", ""])
def test_who_calls_it_by_another_name_is_refused(server, host):
    assert ask(server.server_port, Host=host)[0] == 403


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"


def test_data_that_have_not_changed_are_not_sent_again(server, run):
    status, _, tag = ask(server.server_port)
    assert status == 200 and ask(server.server_port, If_None_Match=tag)[:2] == (304, b"")
    run.log("round", stage="joint", index=100, loss=0.5)
    status, body, _ = ask(server.server_port, If_None_Match=tag)
    assert status == 200 and json.loads(body)["trainings"][0]["y"] == [0.5]


def test_a_damaged_file_leaves_what_was_read_before(server, run):
    before = ask(server.server_port)[1]
    run.log_file.write_text("no line\n")
    assert ask(server.server_port)[:2] == (200, before)
    assert ask(server.server_port, "/")[0] == 503


def test_a_run_is_shown_by_a_process_of_its_own_while_this_one_writes_its_scores(run):
    with serving(run, 0) as url, fill(run):
        port = int(url.rstrip("/").rpartition(":")[2])
        assert json.loads(ask(port)[1])["rows"]["n_scores"] == 6
    with pytest.raises(OSError):
        ask(port)


def test_a_run_with_a_plugins_objective_is_shown_by_a_process_that_does_not_import_it(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "reads", Metric("reads", "lower", "cost", "memory reads"))
    run = RunFolder(tmp_path / "run", changed(recipe.load("quick"), ("search.objectives=[psnr_y, reads]",)))
    run.keep_recipe()
    with serving(run, 0) as url:
        status, body, _ = ask(int(url.rstrip("/").rpartition(":")[2]))
    assert status == 200 and json.loads(body)["metrics"]["reads"]["label"] == "Memory reads"


def test_a_run_whose_plugin_is_not_given_is_answered_in_one_sentence(run, server):
    run.log("evolved", stage="path", seconds=1.0, measured=6, objectives=["psnr_y", "reads"])
    with fill(run):
        pass
    status, body, _ = ask(server.server_port)
    assert status == 503 and b"reads" in body and b"Traceback" not in body


def test_a_port_that_is_taken_is_named(run):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} can't be had"), serving(run, port):
            pass


def test_a_search_shows_itself_while_it_goes_on(photographs, tmp_path):
    words = ("search", "--live", "--port", 0, "--run", tmp_path / "run", "--data", photographs, "--threads", 1)
    process = start(*words, *EVALUATIONS, *tiny())
    try:
        said = ""
        while "shows the run while it goes on" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", said)[1])
        seen = set()
        while process.poll() is None:
            try:
                seen.add(json.loads(ask(port)[1])["rows"]["n_scores"])
            except (OSError, http.client.HTTPException):  # it has ended, perhaps in the middle of an answer
                break
            time.sleep(0.1)  # answers take the search's time
        assert process.wait(60) == 0 and len(seen) > 2 and max(seen) > 14
    finally:
        process.kill()
        process.communicate()
