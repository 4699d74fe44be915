"""`tks-edge recipes`: what can be trained, where each setting is from, what others report and what you reached."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tks_edge.commands import completion
from tks_edge.data.expected import EXPECTED
from tks_edge.data.facts import facts_of
from tks_edge.recipes import RECIPES, Published, Recipe, read_recipe
from tks_edge.settings import RUNS, TrainSettings, resolve
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.tables import print_whole

if TYPE_CHECKING:
    from tks_edge.recipes.achieved import Achieved

_DEFAULT = "default"
"""The source of a setting that the recipe leaves to the program."""


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="A recipe to show in full, or a TOML file of your own.", autocompletion=completion.recipe),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List what can be trained, with the published results beside those of your own finished runs.

    A published result is on the test split. Yours is the best on the validation split, which nothing was trained on,
    but which chose the epoch: `tks-edge eval` measures on the test split.
    """
    with running(as_json, debug) as out:
        from tks_edge.recipes.achieved import achieved

        yours = achieved(RUNS)
        if name is None:
            _list([read_recipe(known) for known in RECIPES], yours, out)
        else:
            recipe = read_recipe(name)
            _show(name, recipe, yours.get(recipe.name, []), out)


def _list(known: Sequence[Recipe], yours: dict[str, list[Achieved]], out: Output) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("recipe", "network", "T", "loss", "epochs", "published", "yours"):
        right = column in ("T", "epochs", "published")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    rows = []
    for recipe in known:
        settings, own = resolve({"recipe": recipe.name}), yours.get(recipe.name, [])
        table.add_row(
            recipe.name,
            settings.model,
            str(settings.timesteps),
            settings.loss,
            str(settings.epochs),
            "\n".join(f"{result.accuracy:.2f} %" for result in recipe.published),
            _best(own),
        )
        rows.append(
            {
                "recipe": recipe.name,
                "title": recipe.title,
                "dataset": recipe.dataset,
                "model": settings.model,
                "timesteps": settings.timesteps,
                "loss": settings.loss,
                "epochs": settings.epochs,
                **_results(recipe.published, own),
            }
        )
    print_whole(table, out.console)
    out.say("published: on the test split; yours: on the validation split. `tks-edge recipes NAME` has whose, and how.")
    out.document({"recipes": rows})
    out.next("recipes", "digits")


def _best(own: Sequence[Achieved]) -> str:
    if not own:
        return ""
    best = own[0]
    return f"{best.validation_accuracy:.2%} {best.model}, T={best.timesteps}\n{escape(best.run)}"


def _results(published: Sequence[Published], own: Sequence[Achieved]) -> dict[str, Any]:
    return {
        "published": [dataclasses.asdict(result) for result in published],
        "yours": [dataclasses.asdict(entry) for entry in own],
    }


def _show(name: str, recipe: Recipe, own: Sequence[Achieved], out: Output) -> None:
    settings = resolve({"recipe": name})
    table = Table(title=escape(f"{recipe.name}: {recipe.title}"), title_justify="left")
    for column in ("setting", "value", "source"):
        table.add_column(column, overflow="fold")
    rows = _rows(recipe, settings)
    for setting, (value, source) in rows.items():
        table.add_row(setting, _text(value), escape(source))
    out.console.print(table)
    for result in recipe.published:
        out.say(f"published: {result.accuracy:.2f} %, {result.what} ({result.source})")
    for entry in own:
        reached = f"{entry.validation_accuracy:.2%} of the validation split"
        out.say(f"yours: {reached}, {entry.model}, T={entry.timesteps} ({entry.run})")
    out.say(f"data: {_where(recipe.dataset)}")
    out.document(
        {
            "recipe": recipe.name,
            "title": recipe.title,
            "dataset": recipe.dataset,
            "settings": {setting: {"value": value, "source": source} for setting, (value, source) in rows.items()},
            **_results(recipe.published, own),
            "files": [
                {field.name: getattr(file, field.name) for field in dataclasses.fields(file)} for file in _files(recipe)
            ],
        }
    )
    facts = facts_of(recipe.dataset)
    more = (("--data", "FOLDER") if facts.own else ()) + (("--download",) if facts.downloads else ())
    out.next("train", "--recipe", name, *more)


def _rows(recipe: Recipe, settings: TrainSettings) -> dict[str, tuple[Any, str]]:
    """Every setting that decides the weights, with its value and where it is from."""
    sources = {setting: source for source, named in recipe.sources.items() for setting in named}
    asked = settings.to_json()
    rows = {}
    for field in dataclasses.fields(settings):
        source = sources.get(field.name, _DEFAULT)
        if field.name == "lr" and "lr_per_1024" in sources:
            source = f"{sources['lr_per_1024']}: {recipe.settings['lr_per_1024']:g} x batch size / 1024"
        if field.name not in ("recipe", "dataset", "seed"):
            rows[field.name] = (asked[field.name], source)
    return rows


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else escape(str(value))


def _files(recipe: Recipe) -> Sequence[Any]:
    expected = EXPECTED.get(recipe.dataset)
    return expected.files if expected is not None else ()


def _where(dataset: str) -> str:
    """What has to lie where."""
    facts = facts_of(dataset)
    if facts.embedded:
        return "nothing to fetch, it comes with the program"
    if facts.own:
        return "your own folder, given with --data, with one folder of samples for each class"
    if dataset not in EXPECTED:
        return "a training says which files it expects where"
    expected = EXPECTED[dataset]
    below = "" if expected.folder == "." else f"{expected.folder}/ in "
    files = "".join(f"\n  {file}" for file in expected.files)
    also = f"\n  {expected.accepted}" if expected.accepted else ""
    fetch = "fetched with --download" if facts.downloads else "to be put there by hand"
    return f"{below}the folder of --data (data/), {fetch}, from {expected.source}:{files}{also}"
