"""The demo: what its server answers, and the page in a real browser with real models."""

import http.client
import io
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import torch
from browsing import requests, serious_violations, size, text, theme, wait
from command_line import exit_code
from PIL import Image

from evo_c2f.errors import InputError
from evo_c2f.page.demo import LARGEST, DemoServer
from evo_c2f.page.local import HOST
from supernet import checkpoint
from supernet.drawing.demo import KEPT, LoadedModels
from supernet.models.model import header, load_network
from supernet.models.pictures import generate, read_picture
from supernet.network.plain import PlainUpscaler
from supernet.network.teacher import ResNetGenerator
from supernet.pictures.writing import TO_16_BITS

MODELS = Path(__file__).parents[2] / "results" / "sr-x4" / "models"
REAL = [MODELS / "0.6MB-scratch-32000", MODELS / "plain-8000"]
CPU = torch.device("cpu")


def small_model(file: Path, network: torch.nn.Module) -> Path:
    checkpoint.save(file, network.state_dict(), header(network))
    return file


def picture(path: Path, width: int = 40, height: int = 30, mode: str = "RGB") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> LoadedModels:
    folder = tmp_path_factory.mktemp("demo")
    torch.manual_seed(0)
    files = [small_model(folder / f"{name}.safetensors", PlainUpscaler(8, n)) for name, n in (("one", 1), ("two", 2))]
    return LoadedModels(files, [picture(folder / "mine.png")], 16, CPU)


@pytest.fixture(scope="module")
def server(models):
    with DemoServer(models, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: DemoServer, path: str, body: bytes | None = None, **fields: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    connection.request("GET" if body is None else "POST", path, body, fields)
    answer = connection.getresponse()
    return answer.status, answer.read()


def lines(body: bytes) -> list[dict]:
    return [json.loads(line) for line in body.splitlines()]


def test_a_run_tells_its_tiles_and_gives_what_apply_would_write(server, models, tmp_path: Path):
    file = picture(tmp_path / "x.png")
    *tiles, last = lines(ask(server, "/run/1?name=x.png", file.read_bytes())[1])
    assert tiles == [{"done": i + 1, "of": 6} for i in range(6)]  # 40x30 in tiles of 16
    assert (last["width"], last["height"]) == (160, 120) and last["ms"] > 0 and last["memory"] > 1e7
    status, result = ask(server, f"/results/{last['result']}")
    alone = generate(models.networks[1], read_picture(file), 256, CPU)
    assert status == 200 and abs(np.array(Image.open(io.BytesIO(result)), int) - np.array(alone)).max() <= 1


def test_the_first_model_is_the_baseline_and_does_not_depend_on_tiles(server, models, tmp_path: Path):
    file = picture(tmp_path / "x.png")
    last = lines(ask(server, "/run/0?name=x.png", file.read_bytes())[1])[-1]
    image = torch.from_numpy(read_picture(file).colour).movedim(-1, 0)[None]
    whole = models.networks[0].task.baseline(image)[0].movedim(0, -1).clamp(0, 1).mul(255).round().byte().numpy()
    assert np.array_equal(np.array(Image.open(io.BytesIO(ask(server, f"/results/{last['result']}")[1]))), whole)


def test_a_picture_of_16_bits_keeps_them(server, tmp_path: Path):
    Image.fromarray(np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50).save(tmp_path / "deep.png")
    last = lines(ask(server, "/run/1?name=deep.png", (tmp_path / "deep.png").read_bytes())[1])[-1]
    assert Image.open(io.BytesIO(ask(server, f"/results/{last['result']}")[1])).mode.startswith("I")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "white", "told"), [(np.uint8, 255, []), (np.uint16, 65535, []), (np.float32, 65535, [TO_16_BITS])]
)
def test_an_array_is_as_bright_as_it_was(server, models, dtype, white, told, channels: int, tmp_path: Path):
    shares = np.random.default_rng(0).random((12, 16, 3), np.float32)[..., :channels]
    pixels = shares if dtype == np.float32 else (shares * white).round().astype(dtype)
    np.save(tmp_path / "x.npy", pixels)
    last = lines(ask(server, "/run/0?name=x.npy", (tmp_path / "x.npy").read_bytes())[1])[-1]
    width, height, rows, about = png.Reader(bytes=ask(server, f"/results/{last['result']}")[1]).asDirect()
    found = np.array([*rows], np.float64).reshape(height, width, channels) / white
    made = generate(models.networks[0], read_picture(tmp_path / "x.npy"), 16, CPU)
    assert (about["bitdepth"], last["losses"]) == (8 if white == 255 else 16, told) and 0.3 < found.mean() < 0.7
    assert abs(found - made / (1 if dtype == np.float32 else white)).max() <= 0.51 / white


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/run/1?name=no%00name.png", b"no picture", "no\0name.png can't be read"),
        ("/run/1?name=../../x.png", b"", "x.png can't be read"),
        ("/run/9?name=x.png", b"", "there is no model 9"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_sentence(server, path, body, told):
    (line,) = lines(ask(server, path, body)[1])
    assert [*line] == ["error"] and told in line["error"] and "/tmp" not in line["error"]


def test_a_sample_is_sent_as_its_file(server, models):
    status, body = ask(server, "/samples/0")
    assert status == 200 and body == models.samples[0][1]


@pytest.mark.parametrize("path", ["/samples/1", "/results/999999", "/run/0", "/samples/../x", "/samples/-1", "/x"])
def test_other_paths_are_refused(server, path):
    assert ask(server, path)[0] == 404


def test_a_page_from_elsewhere_may_not_run_a_model(server, tmp_path: Path):
    body = picture(tmp_path / "x.png").read_bytes()
    assert ask(server, "/run/0", body, Origin="http://evil.example")[0] == 403
    assert ask(server, "/run/0", body, Host="evil.example")[0] == 403
    assert ask(server, "/run/0", body, Origin=server.url.rstrip("/"))[0] == 200


def test_a_file_that_is_too_large_is_refused_before_it_is_read(server):
    assert ask(server, "/run/0", b"", **{"Content-Length": str(LARGEST + 1)})[0] == 413


def test_photographs_are_offered_if_no_sample_is_named(tmp_path: Path):
    models = LoadedModels([small_model(tmp_path / "one.safetensors", PlainUpscaler(8, 1))], [], 16, CPU)
    assert models.about()["samples"] == ["astronaut.png", "chelsea.png", "coffee.png"]
    assert {max(Image.open(io.BytesIO(file)).size) for _, file in models.samples} == {320}


def test_old_outputs_are_dropped(server, models, tmp_path: Path):
    body = picture(tmp_path / "x.png", 4, 4).read_bytes()
    numbers = [lines(ask(server, "/run/0?name=x.png", body)[1])[-1]["result"] for _ in range(KEPT + 1)]
    assert ask(server, f"/results/{numbers[0]}")[0] == 404 and ask(server, f"/results/{numbers[1]}")[0] == 200


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    files = [
        tmp_path / name for name in ("runA/model/model.safetensors", "runB/model/model.safetensors", "one.safetensors")
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        small_model(file, PlainUpscaler(8, 1))
    named = [*(file.parent for file in files[:2]), files[2]]
    assert LoadedModels(named, [], 16, CPU).names == ["bicubic", "runA/model", "runB/model", "one"]
    assert LoadedModels(files, [], 16, CPU).names == ["bicubic", "runA/model/model", "runB/model/model", "one"]
    assert LoadedModels([named[0], named[0]], [], 16, CPU).names == ["bicubic", "model", "model"]


def test_an_error_that_nobody_thought_of_is_told_in_a_sentence(server, models, monkeypatch, caplog, capfd):
    def fail(*given: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr(models, "run", fail)
    status, body = ask(server, "/run/1?name=x.png", b"")
    assert status == 200 and lines(body) == [{"error": "x.png can't be run: RuntimeError: one"}]
    assert caplog.messages == ["'x.png': RuntimeError: one"] and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("sent", [b"GET /results/0", b"POST /run/0"])
def test_a_page_that_leaves_in_the_middle_of_an_answer_is_no_error(models, monkeypatch, sent: bytes, capfd):
    ended, told = threading.Event(), threading.Event()

    def run(model: int, picture: bytes, name: str, on_tile: Callable[[int, int], None]) -> None:
        told.wait(20)
        while True:  # until the page is known to have left
            on_tile(1, 2)

    def result(number: int) -> bytes:
        told.wait(20)
        return bytes(10**8)

    class Ending(DemoServer):
        def shutdown_request(self, request: Any) -> None:  # which a request's thread calls last
            super().shutdown_request(request)
            ended.set()

    monkeypatch.setattr(models, "run", run)
    monkeypatch.setattr(models, "result", result)
    with Ending(models, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection((HOST, server.server_port)) as page:
            page.sendall(sent + f" HTTP/1.1\r\nHost: {HOST}:{server.server_port}\r\nContent-Length: 0\r\n\r\n".encode())
        told.set()
        assert ended.wait(20)
        server.shutdown()
    assert capfd.readouterr().err == ""


def test_bad_models_and_samples_are_named_at_the_start(tmp_path: Path, capsys):
    torch.manual_seed(0)
    four = small_model(tmp_path / "four.safetensors", PlainUpscaler(8, 1))
    same = small_model(tmp_path / "same.safetensors", ResNetGenerator(4, 1))
    (tmp_path / "text.png").write_text("text")
    assert exit_code("demo", "--model", four, "--model", same) == 2
    assert "the models enlarge differently" in capsys.readouterr().err
    assert exit_code("demo", "--model", tmp_path / "none.safetensors") == 2
    with pytest.raises(InputError, match=r"text\.png can't be read"):
        LoadedModels([four], [tmp_path / "text.png"], 16, CPU)


# -- in a real browser, with the committed models ----------------------------------------------


@pytest.fixture(scope="module")
def real_server(tmp_path_factory):
    sample = picture(tmp_path_factory.mktemp("demo") / "mine.png")
    with DemoServer(LoadedModels(REAL, [sample], 256, CPU), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def opened(browser, server, width: int = 1280) -> None:
    size(browser, width)
    requests(browser)  # those of the page before
    browser.get(server.url)


def choose(browser, file: Path) -> None:
    browser.find_element("id", "file").send_keys(str(file))
    wait(browser, "return document.getElementById('state').textContent.endsWith(': done')", 60)


def test_a_picture_is_compared_under_a_divider_and_nothing_else_is_reached(browser, real_server, tmp_path: Path):
    from selenium.webdriver import Keys

    opened(browser, real_server)
    choose(browser, picture(tmp_path / "cat.png", 100, 75))
    wait(browser, "return document.getElementById('right-picture').naturalWidth === 400")
    facts = browser.execute_script(
        "return [...document.querySelectorAll('#facts tr')].slice(1).map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[:4] for row in facts] == [
        ["Left", "bicubic", "–", "400 × 300"],
        ["Right", "0.6MB-scratch-32000", "0.592 MB", "400 × 300"],
    ]
    assert browser.execute_script("return document.querySelectorAll('#facts a')[1].download") == (
        "cat-0.6MB-scratch-32000.png"
    )
    shown = "return getComputedStyle(document.getElementById('left-picture')).clipPath"
    before = browser.execute_script(shown)
    browser.find_element("id", "divider").send_keys(*[Keys.ARROW_RIGHT] * 100)
    assert browser.execute_script(shown) != before
    assert all(url.startswith(real_server.url) for url in requests(browser))


def test_the_output_is_the_models_and_another_model_can_take_its_place(browser, real_server, tmp_path: Path):
    file = picture(tmp_path / "cat.png", 40, 30)
    opened(browser, real_server)
    choose(browser, file)
    browser.execute_script(
        "const s = document.getElementById('left'); s.value = '2'; s.dispatchEvent(new Event('change'))"
    )
    wait(browser, "return document.querySelector('#facts tr:nth-child(2)')?.cells[1].textContent === 'plain-8000'")
    number = browser.execute_script("return document.getElementById('left-picture').src.match(/[0-9]+$/)[0]")
    alone = generate(load_network(REAL[1]), read_picture(file), 256, CPU)
    assert np.array_equal(np.array(Image.open(io.BytesIO(ask(real_server, f"/results/{number}")[1]))), np.array(alone))


def test_a_sample_and_a_file_that_is_no_picture(browser, real_server, tmp_path: Path):
    opened(browser, real_server)
    (tmp_path / "notes.png").write_text("text")
    browser.find_element("id", "file").send_keys(str(tmp_path / "notes.png"))
    wait(browser, "return document.getElementById('state').textContent.includes(\"notes.png can't be read\")")
    assert browser.execute_script("return document.getElementById('compare').hidden")
    browser.find_element("css selector", "#samples button").click()
    wait(browser, "return document.getElementById('state').textContent.endsWith(': done')", 60)


def test_a_file_that_is_too_large_is_told_without_sending_it(browser, models, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("evo_c2f.page.demo.LARGEST", 10)
    with DemoServer(models, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened(browser, server)
        browser.find_element("id", "file").send_keys(str(picture(tmp_path / "cat.png")))
        wait(browser, "return document.getElementById('state').textContent === 'cat.png is too large a file'")
        assert not any("/run/" in url for url in requests(browser))
        server.shutdown()


@pytest.mark.parametrize("name", ["light", "dark"])
def test_it_fits_a_small_screen_and_axe_finds_no_serious_violation(browser, real_server, name, tmp_path: Path):
    theme(browser, name)
    opened(browser, real_server, 400)
    choose(browser, picture(tmp_path / "cat.png"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    assert serious_violations(browser) == []
    assert text(browser, "#theme") == {"light": "Dark theme", "dark": "Light theme"}[name]
