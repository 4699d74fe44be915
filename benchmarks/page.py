"""What the page of a large report takes: bytes, and how long a browser needs to open, sort and filter it.

The report is made up, of a real one's sizes (`page_document`); the browser is headless Chromium, with a new profile for
each round, and the page a file. Times are the page's own, from the start of the navigation. Beside them stand the CPU
time of the thread that opens it, which neighbours on a shared machine disturb less, and the time of a page of one word.

    python -m benchmarks.page [--rows 200] [--rounds 7] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.document import check_output, document, numbers, progress, status
from benchmarks.page_document import page_document
from tks_edge_runtime.errors import MissingError
from tks_edge_runtime.files import write_json
from tks_edge_runtime.reporting.build import write_report

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SIZE: Any = {"width": 1280, "height": 800}
_OPENED = """() => {
  const [opened] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return { load_ms: opened.loadEventEnd, first_paint_ms: paint ? paint.startTime : null };
}"""
_USED = """() => {
  const timed = (act) => {
    const start = performance.now();
    act();
    document.body.offsetHeight;  // has it laid out
    return performance.now() - start;
  };
  const find = document.querySelector(".filters input");
  const sort_ms = timed(() => document.querySelectorAll("thead button")[7].click());
  const filter_ms = timed(() => { find.value = "int8"; find.dispatchEvent(new Event("input", { bubbles: true })); });
  return { sort_ms, filter_ms };
}"""


@contextlib.contextmanager
def _opened(browser: Any, page: Path) -> Iterator[tuple[Any, dict[str, float]]]:
    """The page in a new tab, painted, and what that took."""
    context = browser.new_context(viewport=_SIZE)
    tab = context.new_page()
    session = context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    used = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    yield tab, {**tab.evaluate(_OPENED), "cpu_ms": 1000 * used["TaskDuration"]}
    context.close()


def _round(browser: Any, page: Path, blank: Path) -> dict[str, float]:
    with _opened(browser, blank) as (_, least):
        pass
    with _opened(browser, page) as (tab, found):
        return {**found, **tab.evaluate(_USED), "blank_load_ms": least["load_ms"]}


def _row(browser: Any, rows: int, rounds: int, folder: Path) -> dict[str, Any]:
    progress(f"{rows} rows: drawing")
    report = page_document(rows)
    start = time.perf_counter()
    write_report(report, folder)
    written = time.perf_counter() - start
    page, blank = folder / "report.html", folder / "blank.html"
    blank.write_text("<!DOCTYPE html><title>blank</title><p>blank")
    times = []
    for index in range(rounds):
        progress(f"{rows} rows: round {index + 1} of {rounds}")
        times.append(_round(browser, page, blank))
    return {
        "rows": rows,
        "page_bytes": page.stat().st_size,
        "json_bytes": (folder / "report.json").stat().st_size,
        "write_seconds": written,
        **{name: [one[name] for one in times] for name in times[0]},
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| rows | page | load | slowest | first paint | CPU time | load of a page of one word | sort | filter |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        load, paint, cpu, blank, sort, filtered = (
            f"{statistics.median(row[f'{name}_ms']):.0f} ms"
            for name in ("load", "first_paint", "cpu", "blank_load", "sort", "filter")
        )
        lines.append(
            f"| {row['rows']} | {row['page_bytes'] / 1e6:.2f} MB | {load} | {max(row['load_ms']):.0f} ms | {paint} "
            f"| {cpu} | {blank} | {sort} | {filtered} |"
        )
    return "\n".join(lines)


def _measure(arguments: argparse.Namespace) -> None:
    if arguments.output is not None:
        check_output(arguments.output)
    executable = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if executable is None:
        raise MissingError(f"no browser here: none of {', '.join(_BROWSERS)}. Install one: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    found = document("page")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        found["browser"] = browser.version
        for rows in arguments.rows:
            found["rows"].append(_row(browser, rows, arguments.rounds, Path(folder) / str(rows)))
        browser.close()
    progress("")
    print(_table(found["rows"]))
    if arguments.output is not None:
        write_json(arguments.output, found)


def main() -> int:
    """Measure, print a table, write JSON where asked to; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=numbers, default=[200], help="of the report, such as 20,200 [200]")
    parser.add_argument("--rounds", type=int, default=7, help="times that the page is opened [%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
