"""The page in a real browser: opened from a file it asks for nothing else, and shows its rows and plots everywhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.runtime.reporting.example import document, failed, row, sweep
from tks_edge_runtime.reporting.build import write_report

CANDIDATES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    long = row(8, None, 2.0, name="a_name_without_a_single_space_" * 4, evaluation=None, warnings=("w" * 300,))
    write_report(document([*sweep(), failed(2, name="broken"), long], command="tks-edge " + "x" * 400), made)
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next((path for name in CANDIDATES if (path := shutil.which(name))), None)
    if executable is None:
        reason = f"no browser here: none of {', '.join(CANDIDATES)} is installed"
        if os.environ.get("TKS_EDGE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Browser, report: Path, **options: Any) -> Iterator[Page]:
    """The open page; when it is left, it must have asked for nothing but itself and logged no error."""
    context = browser.new_context(**options)
    page = context.new_page()
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda asked: requests.append(asked.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    address = (report / "report.html").as_uri()
    page.goto(address)
    yield page
    page.mouse.wheel(0, 5000)
    page.wait_for_timeout(100)
    assert requests == [address]
    assert messages == []
    context.close()


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Iterator[Page]:
    """The page on a screen of some size, in one of the schemes."""
    size, scheme = request.param
    width, height = SIZES[size]
    with opened(browser, folder, viewport={"width": width, "height": height}, color_scheme=scheme) as found:
        yield found


def test_every_row_shows_the_numbers_of_the_json(page: Page, folder: Path) -> None:
    rows = json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"]
    assert page.locator("tr[data-file]").count() == len(rows)
    for expected in rows:
        shown = page.locator(f"tr[data-file='{expected['file']}']")
        assert shown.locator("[data-key=name]").inner_text() == expected["name"]
        if expected["status"] != "ok":
            assert "FAILED" in shown.locator("[data-key=marks]").inner_text()
            continue
        assert float(shown.locator("[data-key=p50]").inner_text()) == pytest.approx(
            expected["latency"]["p50"], rel=5e-3
        )
        if expected["accuracy"] is not None:
            accuracy = shown.locator("[data-key=accuracy]").inner_text()
            assert accuracy.startswith(f"{expected['accuracy']['percent']:.2f} ")
        if expected["ratio_to_twin"] is not None:
            assert shown.locator("[data-key=ratio]").inner_text()[:-1] == f"{expected['ratio_to_twin']:.2f}"


def test_the_answer_is_on_the_first_screen(page: Page, folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    answer, shipped = report["answer"], report["rows"][report["answer"]["row"]]
    assert shipped["is_twin"]
    viewport = page.viewport_size
    assert viewport is not None
    first = page.locator(".answer").first
    assert answer["headline"] in first.inner_text()
    t2, t8 = (next(row for row in report["rows"] if row["timesteps"] == t and row["latency"]) for t in (2, 8))
    for label, other in (("latency / T=2", t2), ("latency / T=8", t8)):
        figure = first.locator(".figures div", has_text=label)
        times = shipped["latency"]["p50"] / other["latency"]["p50"]
        assert figure.locator("b").inner_text() == f"{times:.2f}\N{MULTIPLICATION SIGN}"
    for value in (answer["headline"], "one pass", f"{shipped['accuracy']['percent']:.2f} %", "0.0490 ms"):
        box = first.get_by_text(value, exact=True).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < viewport["height"]


def test_every_plot_has_a_size_a_description_and_visible_text(page: Page) -> None:
    plots = page.locator("figure .plot")
    assert plots.count() == 4
    for plot in plots.all():
        assert plot.get_attribute("role") == "group"
        assert plot.locator("svg:visible").count() == 1
        box = plot.locator("svg:visible").bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 150
        assert "digits T=2 fp32: 98.16 %, 0.101 ms" in (plot.get_attribute("aria-label") or "")
        text = plot.locator("svg:visible text").first.bounding_box()
        assert text is not None
        assert text["height"] >= 9


def test_the_page_never_scrolls_sideways_but_its_table_can(page: Page) -> None:
    width, inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner
    scroll = page.locator(".scroll").first
    scroll.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert scroll.evaluate("element => element.scrollLeft") > 0


def test_text_stands_out_from_its_background_in_both_schemes(page: Page) -> None:
    """WCAG contrast of at least 4.5 to 1, for the page and for the text of the plots."""
    contrast = """
    selector => {
      const parse = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
      const light = rgb => rgb.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const element = document.querySelector(selector);
      const style = getComputedStyle(element);
      let parent = element;
      const opaque = node => { const c = getComputedStyle(node).backgroundColor; return !/, 0\\)$/.test(c) && c; };
      while (!opaque(parent)) parent = parent.parentElement;
      const ink = element instanceof SVGElement ? style.fill : style.color;
      const [a, b] = [light(parse(ink)), light(parse(opaque(parent)))].sort((x, y) => y - x);
      return (a + .05) / (b + .05);
    }
    """
    for selector in (
        "h1", ".sentences li", ".figures small", ".kicker", "td", "tr.failed td", "tr.is-twin th", "tr.recommended td",
        ".remarks li", "figure svg text", ".facts dt", "pre code", ".alarm", "thead button", ".filters label", "td a",
        ".filters output", ".theme", "summary span",
    ):  # fmt: skip
        assert page.evaluate(contrast, selector) >= 4.5, selector


def test_it_needs_no_script(browser: Browser, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((folder / "report.html").as_uri())
    assert tab.locator("tr[data-file]:visible").count() == 7
    assert tab.locator("figure .plot[role=img] svg:visible").count() == 4
    assert tab.locator(":is(input, select, button):visible").count() == 0
    context.close()


def test_what_is_forbidden_would_have_been_seen(browser: Browser, folder: Path, tmp_path: Path) -> None:
    """The page's policy stops a picture from elsewhere: no request can leave even a page that was tampered with."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    (tmp_path / "tampered.html").write_text(text.replace("<main>", "<main><img src='http://127.0.0.1:9/x.png'>"))
    tab = browser.new_page()
    messages: list[str] = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto((tmp_path / "tampered.html").as_uri())
    tab.wait_for_timeout(100)
    assert any("Content Security Policy" in message for message in messages)
    tab.close()
