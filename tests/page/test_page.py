"""The page of a run in a real browser: Chromium without a window, and without a network."""

import json
import re
import shlex
import shutil
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from browsing import requests, serious_violations, size, text, theme, wait
from command_line import exit_code, tiny

import cli
from evo_c2f.errors import InputError
from evo_c2f.page.data import described_space, page_data
from evo_c2f.page.html import as_json, render, write_page
from evo_c2f.page.scores import MOST_DOMINATED
from evo_c2f.page.server import open_server
from evo_c2f.runs import fronts, recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.scores import analysis
from evo_c2f.scores.layout import Context
from evo_c2f.scores.store import ScoreStore
from supernet.metrics.tasks import SCALES, SuperResolution, Translation

ROOT = Path(__file__).parents[2]
# A run of seconds, whose name would be an element if it were taken for HTML.
HOSTILE = '</script><img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def run(photographs, tmp_path_factory):
    """A whole small search."""
    folder = tmp_path_factory.mktemp("pages") / "tiny run"
    # Its first training is not fair, which the page says.
    unfair = ("training.stages=[joint, operator, channel]", "training.sampler=widest_first")
    changes = tiny(f"name={json.dumps(HOSTILE)}", *unfair)
    words = ("search", "--run", folder, "--data", photographs, "--threads", 1, "--evaluations", 12)
    assert exit_code(*words, *changes) == 0
    return RunFolder.open(folder)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A run of 10,000 subnets: random genomes with made-up scores in a real store."""
    settings = recipe.load("sr-x4")
    run = RunFolder(tmp_path_factory.mktemp("pages") / "crowd", settings)
    run.keep_recipe()
    rng = np.random.default_rng(0)
    genomes = np.unique(settings.space.random(11_000, rng), axis=0)
    genomes = np.concatenate([settings.space.reference[None], genomes[rng.permutation(len(genomes))[:9_999]]])
    costs = 0.1 + genomes[:, settings.space.paths].astype(bool).sum(axis=1) + rng.random(len(genomes))
    quality = 25 + np.log(costs) + rng.normal(scale=0.2, size=len(genomes))
    rows = [
        {"psnr_y": float(q), "size_mb": float(c), "params": c * 250_000, "macs": c * 14e9}
        for q, c in zip(quality, costs, strict=True)
    ]
    context = Context(settings.space.to_dict(), "weights", "images", "protocol")
    with ScoreStore(run.scores, context, {"baseline": {"psnr_y": 24.6}}) as store:
        for stage, part in {"reference": slice(1), "path": slice(1, 4000), "channel": slice(4000, None)}.items():
            n = len(genomes[part])
            store.append(genomes[part], rows[part], stage, np.arange(n) // 24, np.full(n, 0.5))
    run.log("teacher", file="/there/big.onnx", digest="", words="", metrics={"psnr_y": 26.0, "psnr_y_full": None})
    write_page(run)
    return run


@pytest.fixture(scope="module")
def crowd_data(crowd):
    return page_data(crowd)


def start(browser, run, width=1280):
    """The run's page from its file, all drawn."""
    size(browser, width)
    browser.get(run.report.as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'yes'")


def column(browser, title):
    """The figures of a column of the table, as shown."""
    return browser.execute_script(
        "const heads = [...document.querySelectorAll('#subnets th')];"
        "const at = heads.findIndex(h => h.textContent.startsWith(arguments[0]));"
        "return [...document.querySelectorAll('#subnets tbody tr')].map(r => r.cells[at].textContent)",
        title,
    )


def use_all(browser):
    """Every control once, so that what it would fetch or throw is seen."""
    browser.execute_script(
        "for (const s of document.querySelectorAll('select')) for (const o of s.options) {"
        "  s.value = o.value; s.dispatchEvent(new Event('change')); }"
        "for (const b of document.querySelectorAll('input[type=checkbox], .modebar-btn, #theme')) b.click();"
        "localStorage.clear();"
    )


# -- the data, without a browser ---------------------------------------------------------------


def test_the_data_hold_every_score_and_every_front(run):
    data = page_data(run)
    rows = data["rows"]
    assert rows["n_scores"] == len(rows["columns"]["id"]) > 20
    assert [*rows["fronts"]] == ["path", "operator", "channel"] and all(rows["fronts"].values())
    best = max(rows["columns"]["metrics"]["psnr_y_full"][i] for i in rows["fronts"]["channel"])
    assert re.search(rf"the channel stage's front holds \d+: best PSNR on Y on whole images {best:.2f} dB \(bicubic ",
                     data["sentence"])  # fmt: skip
    assert {c["what"] for c in data["facts"]["cost"]} == {"training", "search"}
    assert data["facts"]["versions"]["torch"] and "1 threads" in data["facts"]["device"]


def test_the_fronts_of_the_final_stage_have_pictures(run):
    data = page_data(run)
    key = data["contexts"][-1]["key"]
    for row in data["rows"]["fronts"]["channel"]:
        pictures = data["samples"]["subnets"][f"{key}:{data['rows']['columns']['id'][row]}"]
        assert all(len(picture) < 12_000 for picture in pictures)
    assert [*data["samples"]["columns"]] == ["input", "bicubic", "target"]


def test_those_called_pickable_are_those_that_finetune_picks(run):
    limited = run.recipe.model_copy(update={"search": run.recipe.search.model_copy(update={"max": {"macs": 2e7}})})
    run = RunFolder(run.folder, limited)
    data = page_data(run)
    columns, pickable = data["rows"]["columns"], data["pickable"]
    for row, name in enumerate(columns["id"]):
        if row in pickable["refused"]:
            with pytest.raises(InputError):
                fronts.pick(run, limited.search.limits(), name)
        else:
            _, genome = fronts.pick(run, limited.search.limits(), name)
            assert genome.tobytes().hex() == columns["genome"][row]
    assert 0 < len(pickable["refused"]) < len(columns["id"])


def test_a_teachers_figures_stand_beside_the_baseline(crowd_data, crowd, browser):
    assert "dB (baseline 24.60 dB, teacher big.onnx 26.00 dB)" in crowd_data["sentence"]
    start(browser, crowd)
    lines = "return document.getElementById('plot-fronts').data.filter(t => t.line && t.line.dash).map(t => t.name)"
    assert browser.execute_script(lines) == ["baseline 24.600 dB", "teacher big.onnx 26.000 dB"]
    assert re.search(r"against baseline, .*dB against teacher big.onnx", text(browser, "#subnet .figures"))


def test_a_run_that_has_only_begun_has_a_page(run, tmp_path):
    begun = RunFolder(tmp_path / "begun", run.recipe)
    begun.keep_recipe()
    begun.log("round", stage="joint", index=100, loss=0.1)
    assert page_data(begun)["sentence"] == "Nothing was searched yet; the supernet has had 100 of 6 rounds."
    assert "<img" not in render(page_data(begun))


def test_text_of_a_run_can_t_end_the_script_that_holds_it():
    assert "<" not in as_json({"name": HOSTILE}) and json.loads(as_json({"name": HOSTILE}))["name"] == HOSTILE


def test_ten_thousand_subnets_make_a_page_of_less_than_8_mb_and_draw_2_000_dominated_ones(crowd, crowd_data):
    rows = crowd_data["rows"]
    fronts = {i for front in rows["fronts"].values() for i in front}
    assert len(rows["columns"]["id"]) == rows["n_scores"] == 10_000
    assert fronts <= set(rows["drawn"]) and len(rows["drawn"]) == MOST_DOMINATED + len(fronts | {0})
    assert crowd.report.stat().st_size < 8e6


# -- the page ----------------------------------------------------------------------------------


def test_it_opens_from_its_file_without_a_request_or_an_error_whatever_is_pressed(browser, run):
    browser.get("about:blank")
    requests(browser), browser.get_log("browser")
    start(browser, run)
    use_all(browser)
    assert requests(browser) == [] and browser.get_log("browser") == []
    assert text(browser, "h1") == HOSTILE and browser.title.startswith(HOSTILE)
    assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_a_click_on_a_point_shows_its_subnet_and_its_pictures(browser, run):
    start(browser, run)
    # The point of the channel's front that lies farthest from other subnets' points, where it is on the screen.
    row, x, y = browser.execute_script(
        "const plot = document.getElementById('plot-fronts'), box = plot.getBoundingClientRect();"
        "const l = plot._fullLayout, points = t => Array.from(t.customdata ?? [], (row, i) =>"
        "  [row, box.left + l.xaxis._offset + l.xaxis.d2p(t.x[i]), box.top + l.yaxis._offset + l.yaxis.d2p(t.y[i])]);"
        "const all = plot.data.flatMap(points), distance = ([row, x, y]) => Math.min(...all.filter(o => o[0] !== row)"
        "  .map(o => Math.hypot(o[1] - x, o[2] - y)));"
        "const front = points(plot.data.find(t => t.name === 'channel front'));"
        "return front.reduce((a, b) => distance(b) > distance(a) ? b : a)"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left" if kind != "mouseMoved" else "none", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    name = page_data(run)["rows"]["columns"]["id"][row]
    wait(browser, f"return document.getElementById('subnet-title').textContent === 'Subnet {name}'")
    loaded = "return [...document.querySelectorAll('.pictures img')].filter(i => i.complete && i.naturalWidth).length"
    assert wait(browser, f"{loaded} === document.querySelectorAll('.pictures img').length")
    assert browser.execute_script(loaded) == 4 * len(browser.find_elements("css selector", ".pictures tbody tr")) > 0
    assert "On the front of the channel stage" in text(browser, "#subnet .note")
    assert browser.execute_script("return document.querySelectorAll('.network svg rect').length") >= 1


def test_the_command_that_is_shown_is_one_that_finetune_takes(browser, run):
    start(browser, run)
    python, program, command, *words = shlex.split(text(browser, ".command code"))
    given = cli.cli.commands[command].make_context(command, words).params
    assert (python, program, given["run"]) == ("python", "cli.py", run.folder)
    assert text(browser, "#subnet-title") == f"Subnet {given['pick']}" and given["name"].endswith(given["pick"])


def test_the_ledger_says_which_training_was_not_fair(browser, run):
    start(browser, run)
    unfair = page_data(run)["ledgers"]["joint"]["unfair"]
    assert f"was not fair: updates of competing choices differ by up to path {unfair['path']}" in text(
        browser, "#ledger-note"
    )
    browser.execute_script(
        "const s = document.getElementById('ledger-training');"
        "s.value = 'operator'; s.dispatchEvent(new Event('change'));"
    )
    assert "fair" not in text(browser, "#ledger-note")
    # What the operator stage does not deal is not claimed to be even.
    told = [line.partition("\n")[0] for line in text(browser, "#ledger").split("Level of each cell") if line]
    assert "not dealt by this training" in told[0]
    assert re.search("Operator of each cell (all equal|at most 1 apart)", text(browser, "#ledger"))


@pytest.mark.parametrize(("task", "scale"), [*((SuperResolution(n), n) for n in SCALES), (Translation(), 1)])
def test_the_page_tells_how_fine_each_level_is(task, scale):
    space = replace(recipe.load("quick").space, widths=dict.fromkeys(range(4), (8,)))
    assert described_space(space, scale)["spans"] == [task.frame.span(level) for level in range(4)]


def test_the_cost_of_a_stage_is_that_of_all_its_searches(tmp_path):
    run = RunFolder(tmp_path / "run", recipe.load("quick"))
    run.keep_recipe()
    for seconds in (60.0, 120.0):
        run.log("trained", stage="path", seconds=seconds)
    for seconds, measured in ((100.0, 40), (60.0, 8), (5.0, 0)):
        run.log("evolved", stage="path", seconds=seconds, measured=measured)
    cost = [(row["what"], row["stage"], row["minutes"]) for row in page_data(run)["facts"]["cost"]]
    assert cost == [("training", "path", 2.0), ("search", "path", 2.67)]


def test_only_fronts_of_stages_with_a_next_one_have_seeds(run):
    found = page_data(run)["rows"]
    assert [*found["survivors"]] == ["path", "operator"]
    for stage, rows in found["survivors"].items():
        written = analysis.read_front(run.front(stage))
        assert [found["columns"]["id"][row] for row in rows] == written["id"][written["survivor"]].tolist()


def test_the_table_sorts_by_a_column_both_ways(browser, run):
    start(browser, run)
    for sign in (1, -1):
        browser.find_element("css selector", "#subnets button[data-key=size_mb]").click()
        sizes = [float(figure) for figure in column(browser, "Size")]
        assert len(sizes) > 10 and all(sign * a <= sign * b for a, b in pairwise(sizes))
    assert browser.execute_script("return document.activeElement.dataset.key") == "size_mb"


def test_the_table_filters_by_words_and_limits(browser, run):
    start(browser, run)
    middle = sorted(float(figure) for figure in column(browser, "Size"))[10]
    box = browser.find_element("id", "filter")
    box.send_keys(f"size_mb<={middle} operator")
    assert set(column(browser, "Stage")) == {"operator"}
    assert all(float(figure) <= middle for figure in column(browser, "Size"))
    box.send_keys(" nosuchword")
    assert column(browser, "Stage") == [] and text(browser, "#page-state").startswith("0 to 0 of 0")


def test_a_row_is_reached_and_chosen_by_the_keyboard(browser, run):
    from selenium.webdriver import ActionChains, Keys

    start(browser, run)
    browser.execute_script("document.querySelector('#subnets tbody tr[tabindex=\"0\"]').focus()")
    ActionChains(browser).send_keys(Keys.ARROW_DOWN, Keys.ENTER).perform()
    name = browser.execute_script("return document.activeElement.cells[0].textContent")
    assert text(browser, "#subnet-title") == f"Subnet {name}"
    assert browser.execute_script("return document.activeElement.getAttribute('aria-current')") == "true"


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_overflows(browser, run, width):
    start(browser, run, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser, run, name):
    theme(browser, name)
    start(browser, run)
    assert browser.execute_script("return document.documentElement.dataset.theme") == name
    assert serious_violations(browser) == []


def test_ten_thousand_subnets_are_drawn_and_paged(browser, crowd, crowd_data):
    start(browser, crowd)
    drawn = browser.execute_script(
        "return document.getElementById('plot-fronts').data.filter(t => t.customdata && t.name !== 'selected')"
        ".reduce((n, t) => n + t.customdata.length, 0)"
    )
    assert drawn == len(crowd_data["rows"]["drawn"])
    assert len(column(browser, "Stage")) == 50 and text(browser, "#page-state") == "1 to 50 of 10,000"
    assert "a sample" in text(browser, "#fronts-note")


def test_a_served_page_follows_its_run_and_keeps_the_choice_and_the_place(browser, run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    copy = RunFolder.open(folder)
    with open_server(copy, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        size(browser, 1280)
        browser.get(server.url)
        wait(browser, "return document.documentElement.dataset.ready === 'yes'")
        wait(browser, "return document.getElementById('live').textContent.startsWith('Live, as of')")
        browser.execute_script("document.querySelectorAll('#subnets tbody tr')[2].click(); scrollTo(0, 700)")
        chosen = text(browser, "#subnet-title")
        copy.log("round", stage="joint", index=100, loss=0.5)
        wait(browser, "return document.getElementById('plot-training').data.length === 1")
        assert text(browser, "#subnet-title") == chosen
        assert browser.execute_script("return scrollY") == 700
        assert len(browser.find_elements("css selector", "tr[aria-current]")) == 1
        server.shutdown()
    asked = {url.removeprefix(server.url) for url in requests(browser)}
    assert asked <= {"", "data.json", "favicon.ico"}
    browser.get("about:blank")
    browser.get_log("browser")
