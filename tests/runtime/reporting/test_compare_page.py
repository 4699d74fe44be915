"""Reports side by side in a browser: what is shown equals the JSON, and table and plots do what a report's do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from tests.runtime.reporting.example import document, failed, on_a_gpu, row, sweep, twin
from tests.runtime.reporting.test_browser import SIZES, browser, opened  # noqa: F401 - a fixture
from tests.runtime.reporting.test_compare_pairs import stopping
from tks_edge_runtime import cli

CHANGED = [row(t, 570 + 2 * t, 0.048 * t, sha256="b" * 64, unstable=t == 4) for t in (1, 2, 4)]
REPORTS = {
    "a": [*sweep(), failed(2, name="broken"), row(2, 580, 0.06, precision="int8"), stopping(0.1)],
    "b": [
        *CHANGED,
        twin(580, 0.051, sha256="c" * 64),
        row(2, 580, 0.05, name="broken", sha256="0" * 64),
        row(4, 1, 1.0, name="new", sha256="1" * 64),
        stopping(0.3),
    ],
    "c": [row(2, 480, 0.3, sha256="d" * 64), row(2, 580, 0.07, precision="int8", sha256="e" * 64)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("comparison")
    for name, rows in REPORTS.items():
        (made / f"{name}.json").write_text(document(rows).to_json(), encoding="utf-8")
    paths = [str(made / f"{name}.json") for name in REPORTS]
    result = CliRunner().invoke(cli.app, ["compare", *paths, "--output", str(made / "report.html"), "--json"])
    assert result.exit_code == 0, result.output
    (made / "comparison.json").write_text(result.stdout, encoding="utf-8")
    return made


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Iterator[Page]:  # noqa: F811
    size, scheme = request.param
    width, height = SIZES[size]
    with opened(browser, folder, viewport={"width": width, "height": height}, color_scheme=scheme) as found:
        yield found


def pairs(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["comparisons"]
    return [row for comparison in found for row in comparison["rows"]]


def test_every_pair_shows_the_numbers_of_the_json(page: Page, folder: Path) -> None:
    expected = pairs(folder)
    lines = page.locator("#table tbody tr")
    assert lines.count() == len(expected) == 8
    measured = 0
    for place, pair in enumerate(expected):
        line = page.locator(f"#row-{place}")
        ratio, of_a = pair["ratio"], pair["a"]["latency"]
        assert line.locator("[data-key=name]").text_content() == pair["title"]
        shown = line.locator("[data-key=ratio]")
        assert shown.get_attribute("data-value") == (None if ratio is None else json.dumps(ratio))
        if ratio is None:
            assert "not measured in A" in (line.locator("[data-key=marks]").text_content() or "")
            continue
        measured += 1
        assert (shown.text_content() or "").startswith(f"{ratio:.3f}")
        assert ("means" in (shown.text_content() or "")) == (pair["ratio_of"] == "mean")
        assert float(line.locator("[data-key=mean_a]").get_attribute("data-value") or "") == of_a["mean"]
        assert float(line.locator("[data-key=p50_a]").get_attribute("data-value") or "") == of_a["p50"]
        low, high = pair["interval"]
        assert line.locator("[data-key=interval]").text_content() == f"{low:.3f}\N{EN DASH}{high:.3f}"
    assert page.locator("#plot-ratios .point").count() == measured == 7


def test_the_page_says_what_its_ratios_are_worth(page: Page) -> None:
    answers = page.locator(".answer")
    assert answers.count() == 2
    assert "not of one interleaved run" in answers.first.inner_text()
    assert answers.nth(1).locator("h1").inner_text().startswith("C takes ")
    assert "UNSTABLE in B" in answers.first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_sorts_filters_and_tells_of_its_points(browser: Browser, folder: Path) -> None:  # noqa: F811
    with opened(browser, folder, viewport={"width": 1280, "height": 900}, reduced_motion="reduce") as page:
        ratios = [pair["ratio"] for pair in pairs(folder)]
        page.locator("#table thead button", has_text="\N{MULTIPLICATION SIGN} A").first.click()
        found = page.locator("#table tbody tr [data-key=ratio]").evaluate_all("c => c.map(c => c.dataset.value)")
        assert [float(value) for value in found if value] == sorted(ratio for ratio in ratios if ratio is not None)
        assert found[-1] is None
        page.locator(".filters select[name=against]").select_option("C")
        assert page.locator("#table tbody tr:visible").count() == 2
        assert page.locator("#plot-ratios .point:not(.out)").count() == 2
        page.locator(".filters button").click()
        point = page.locator("#plot-movement .point").first
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        told = page.locator("#tip").inner_text()
        place = int(point.get_attribute("data-rows") or "")
        assert pairs(folder)[place]["title"] in told


def test_energies_are_columns_where_both_measured_them(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "gpu.json"
    path.write_text(document(on_a_gpu()).to_json(), encoding="utf-8")
    output = tmp_path / "report.html"
    result = CliRunner().invoke(cli.app, ["compare", str(path), str(path), "--output", str(output)])
    assert result.exit_code == 0, result.output
    with opened(browser, tmp_path) as page:
        cells = page.locator("[data-key=energy_ratio]")
        assert {*cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)")} == {"1.0"}
        assert "0 faster, 0 slower" in page.locator("h1").inner_text()
