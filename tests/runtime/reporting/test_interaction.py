"""What one can do with the page: sort, filter, look at points, change the theme; by mouse, keyboard and finger."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.runtime.reporting.example import document, failed, row, sweep, twin
from tests.runtime.reporting.test_browser import SIZES, browser, opened  # noqa: F401 - a fixture
from tks_edge_runtime.reporting.build import write_report
from tks_edge_runtime.reporting.columns import columns_of

WARNING = "latency varies: standard deviation 5.0% of the mean (more than 2.5%)"
ROWS = [
    *sweep(),
    *(row(t, 570 + t, 0.03 * t, precision="int8", warnings=(WARNING,)) for t in (1, 2, 8)),
    twin(588, 0.02, precision="int8"),
    failed(2, name="broken"),
    row(4, None, 0.3, name="unknown", evaluation=None, samples=20),
]
PLOTS = ("accuracy-latency", "accuracy-timesteps", "latency-timesteps", "latency-distribution")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    write_report(document(ROWS), made)
    return made


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:  # noqa: F811
    with opened(browser, folder, **DESKTOP) as found:
        yield found


def places(page: Page) -> list[int]:
    """The rows that are shown, from the top, by their places in the document."""
    ids: list[str] = page.evaluate("[...document.querySelectorAll('#table tbody tr:not([hidden])')].map(row => row.id)")
    return [int(found.removeprefix("row-")) for found in ids]


def points(page: Page, plot: str = "accuracy-latency") -> Locator:
    return page.locator(f"#plot-{plot} svg:visible .point")


def place_of(point: Locator) -> int:
    return int(point.get_attribute("data-rows") or "")


def pointed_at(page: Page, point: Locator) -> None:
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def signs_first(text: str) -> str:
    return text.replace("⚠", " ").lower()


def test_each_column_sorts_both_ways_with_missing_values_last(page: Page) -> None:
    buttons = page.locator("#table thead button")
    assert buttons.count() >= len(columns_of(document(ROWS).rows))
    cells = """column => [...document.querySelectorAll('#table tbody tr')].map(({cells}) => cells[column]).map(cell =>
      cell.classList.contains('number') ? ('value' in cell.dataset ? Number(cell.dataset.value) : null)
        : /^(\\u2013|)$/.test(cell.textContent.trim()) ? null : cell.textContent.trim())"""
    for index, button in enumerate(buttons.all()):
        header = page.locator("#table thead th").nth(index)
        for direction in ("ascending", "descending"):
            button.click()
            assert header.get_attribute("aria-sort") == direction
            values = page.evaluate(cells, index)
            known = [value for value in values if value is not None]
            assert values == known + [None] * (len(values) - len(known))
            if all(isinstance(value, int | float) for value in known):
                assert known == sorted(known, reverse=direction == "descending"), button.inner_text()
            else:
                assert known == sorted(known, key=signs_first, reverse=direction == "descending"), button.inner_text()
        button.click()
        assert page.locator("[aria-sort]").count() == 0
        assert places(page) == list(range(len(ROWS)))


def statistic(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row["latency"] and row["latency"][name]


def test_a_cell_sorts_by_the_very_number_of_the_json(page: Page, folder: Path) -> None:
    rows = json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"]
    numbers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "timesteps": lambda row: None if row["is_twin"] else row["timesteps"],
        "accuracy": lambda row: row["accuracy"] and row["accuracy"]["percent"],
        "ratio": lambda row: row["ratio_to_twin"],
        "size": lambda row: row["size_bytes"],
        "parameters": lambda row: row["parameters"],
        "cpu": lambda row: row["cpu_ms"],
        "compute": lambda row: row["compute"] and row["compute"]["p50"],
        "load": lambda row: row["cold_start"] and row["cold_start"]["load_ms"],
        **{name: statistic(name) for name in ("p50", "p90", "p95", "p99", "p999", "min", "mean", "max", "iqr", "n")},
    }
    for place, expected in enumerate(rows):
        for key, number in numbers.items():
            value = page.locator(f"#row-{place} [data-key={key}]").get_attribute("data-value")
            assert (None if value is None else float(value)) == number(expected), (place, key)


def test_filters_leave_the_rows_that_all_of_them_allow_and_dim_the_other_points(page: Page) -> None:
    made = document(ROWS).rows
    labels = page.locator(".filters label").all_inner_texts()
    assert [label.split()[0] for label in labels] == ["Find", "T", "type", "neuron", "status"]
    count = page.locator(".filters output")
    assert count.inner_text() == f"{len(ROWS)} of {len(ROWS)} rows"
    page.locator(".filters").get_by_label("type").select_option("int8")
    expected = [place for place, row in enumerate(made) if row.precision == "int8"]
    assert places(page) == expected
    assert count.inner_text() == f"{len(expected)} of {len(ROWS)} rows"
    for plot in PLOTS:
        opacities = "marks => marks.map(mark => [Number(mark.dataset.rows), getComputedStyle(mark).opacity])"
        dimmed = {place for place, opacity in points(page, plot).evaluate_all(opacities) if float(opacity) < 0.2}
        assert dimmed.isdisjoint(expected)
        assert dimmed | set(expected) >= {place_of(point) for point in points(page, plot).all()}
    page.locator(".filters input").fill("RELU  digits")
    assert [made[place].is_twin for place in places(page)] == [True]
    page.get_by_role("button", name="Show all").click()
    assert places(page) == list(range(len(ROWS)))
    assert page.locator(".out").count() == 0
    page.locator(".filters").get_by_label("status").select_option("failed to run")
    assert [made[place].name for place in places(page)] == ["broken"]


def test_a_point_tells_of_its_row_and_leads_to_it(page: Page) -> None:
    tip = page.locator("#tip")
    assert not tip.is_visible()
    for plot in ("accuracy-latency", "latency-timesteps", "latency-distribution"):
        point = points(page, plot).nth(1)
        place = place_of(point)
        pointed_at(page, point)
        cells = page.locator(f"#row-{place}")
        for key in ("name", "precision", "p50", "p90", "p99", "ratio", "accuracy"):
            assert cells.locator(f"[data-key={key}]").inner_text() in tip.inner_text()
        assert "onnxruntime" in tip.inner_text()
        assert "lit" in (cells.get_attribute("class") or "").split()
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        assert page.locator("tr.lit").count() == 0
        page.mouse.move(0, 0)
        pointed_at(page, point)
        page.mouse.down()
        page.mouse.up()
        assert page.evaluate("document.activeElement.id") == f"row-{place}"
        box = cells.bounding_box()
        assert box is not None
        assert 0 < box["y"] < 800


def test_a_row_lights_its_points(page: Page) -> None:
    page.locator("#row-1 [data-key=accuracy]").hover()
    lit = page.locator(".plot .point.lit")
    assert lit.count() == 5
    assert {place_of(point) for point in lit.all()} == {1}


def test_the_arrow_keys_walk_through_the_points_and_enter_goes_to_the_row(page: Page) -> None:
    first = points(page).first
    first.focus()
    names = [page.evaluate("document.activeElement.getAttribute('aria-label')")]
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert len(set(names)) == 3
    assert all(re.search(r"accuracy % \d+\.\d+ .*e2e p50 ms", name) for name in names)
    assert page.locator("#tip").is_visible()
    place = page.evaluate("document.activeElement.dataset.rows")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == f"row-{place}"
    assert not page.locator("#tip").is_visible()


def test_the_tab_key_reaches_everything_and_stops_once_at_each_plot(page: Page) -> None:
    found = []
    for _ in range(120):
        page.keyboard.press("Tab")
        kind = """(() => { const e = document.activeElement; const name = e.id || e.className?.toString() || '';
          return [e.tagName.toLowerCase(), e.closest('figure')?.id ?? '', e.closest('thead') ? 'sort' : name] })()"""
        found.append(tuple(page.evaluate(kind)))
        if found[-1][0] == "body":
            break
    assert found[0] == ("a", "", "skip")
    assert ("select", "", "theme") in found
    assert [kind[1] for kind in found if kind[1]] == [f"plot-{name}" for name in PLOTS]
    assert sum(kind[2] == "sort" for kind in found) == page.locator("#table thead th").count()
    assert sum(kind[0] == "summary" for kind in found) == page.locator("summary").count()
    assert sum(kind[0] == "input" for kind in found) == 1


def test_the_table_is_sorted_and_filtered_by_keyboard_alone(page: Page) -> None:
    page.locator("#table thead button").filter(has_text="e2e p50 ms").focus()
    page.keyboard.press("Enter")
    made = document(ROWS).rows
    medians = [made[place].typical for place in places(page)]
    known = [median for median in medians if median is not None]
    assert known == sorted(known)
    page.locator(".filters input").focus()
    page.keyboard.type("twin")
    assert all(made[place].is_twin for place in places(page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_until_another_is_chosen(browser: Browser, folder: Path, scheme: Any) -> None:  # noqa: F811
    colours = """[getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.querySelector('figure text')).fill]"""
    with opened(browser, folder, **DESKTOP, color_scheme=scheme) as page:
        by_system = page.evaluate(colours)
        seen = {}
        for theme in ("light", "dark", "system"):
            page.locator("#theme").select_option(theme)
            seen[theme] = page.evaluate(colours)
        assert seen["system"] == seen[scheme] == by_system
        assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def test_a_finger_sees_the_row_first_and_goes_there_next(browser: Browser, folder: Path) -> None:  # noqa: F811
    width, height = SIZES["phone"]
    options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "has_touch": True, "is_mobile": True}
    with opened(browser, folder, **options, reduced_motion="reduce") as page:
        point = points(page).first
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        assert box is not None
        at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.touchscreen.tap(*at)
        tip = page.locator("#tip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= width
        place = page.locator("tr.lit").get_attribute("id")
        assert page.evaluate("document.activeElement.id") != place
        page.touchscreen.tap(*at)
        assert page.evaluate("document.activeElement.id") == place


def test_nothing_but_tables_scrolls_sideways_on_a_phone_with_everything_open(browser: Browser, folder: Path) -> None:  # noqa: F811
    width, height = SIZES["phone"]
    with opened(browser, folder, viewport={"width": width, "height": height}) as page:
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        wide = """[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1
          && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => e.className)"""
        assert all("scroll" in name for name in page.evaluate(wide))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_shows_every_row_and_no_control(page: Page) -> None:
    page.locator("#theme").select_option("dark")
    page.locator(".filters input").fill("int8")
    pointed_at(page, points(page).last)
    page.emulate_media(media="print")
    assert page.locator("#table tbody tr:visible").count() == len(ROWS)
    assert page.locator(":is(input, select, .filters, #tip, .skip):visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('.point')].every(p => getComputedStyle(p).opacity === '1')")
    for sentences in page.locator(".sentences").all():
        box = sentences.bounding_box()
        assert box is not None
        assert box["height"] > 0
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_one_answer_stands_first_and_the_others_are_folded(page: Page) -> None:
    made = document(ROWS)
    assert made.answer is not None
    assert page.locator("h1").inner_text() == made.answer.headline
    folded = page.locator("details.answer")
    assert folded.count() == len(made.conclusions)
    assert not page.locator("details.answer .sentences").first.is_visible()
    assert re.search(r"%, .* ms, .* twin", folded.first.locator("summary").inner_text())
    folded.first.locator("summary").click()
    assert page.locator("details.answer .sentences").first.is_visible()


def test_a_warning_is_marked_in_its_row_and_leads_to_its_words(page: Page) -> None:
    link = page.locator("#row-1 [data-key=marks] a")
    assert link.get_attribute("aria-label") == "1 warning"
    target = link.get_attribute("href")
    link.click()
    words = page.locator(f"{target}")
    assert words.is_visible()
    assert WARNING in words.inner_text()
