"""Recipes: everything a training on a data set starts from, with where each setting comes from; one TOML file each.

    title = "CIFAR-100, ResNet-19"
    dataset = "cifar100"

    [settings]                  what `settings.resolve` takes, with `lr_per_1024` for the learning rate at batch 1024
    model = "resnet19"

    [sources]                   every setting once, below where it is from; "ours" marks what nobody published
    "arXiv 2304.06540" = ["model"]

    [[published]]               what others report, in percent
    accuracy = 79.89
    what = "TKS, T=4"
    source = "..."

Importing it reads no file and does not import torch: the command line does so.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError, nearest_beside, unknown

_FOLDER = Path(__file__).parent
RECIPES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@dataclass(frozen=True)
class Published:
    """A result that others report.

    Attributes:
        accuracy: in percent.
        what: method, network and T.
        source: where it is reported, and whether it was read there.
    """

    accuracy: float
    what: str
    source: str


@dataclass(frozen=True)
class Recipe:
    """A recipe, read.

    Attributes:
        name: of one that comes along, without ending; of one's own, the name of its file.
        title: what is trained, in a few words.
        dataset: name of the data set.
        settings: what `settings.resolve` takes, by name.
        sources: where settings come from, to their names.
        published: results of others to compare with.
    """

    name: str
    title: str
    dataset: str
    settings: dict[str, Any]
    sources: dict[str, list[str]]
    published: tuple[Published, ...] = ()


def read_recipe(name: str) -> Recipe:
    """The recipe `name`: one of `RECIPES`, or the path of a TOML file of one's own.

    Raises:
        InputError: there is no such recipe, or the file is no recipe.
    """
    if name.endswith(".toml"):
        return _read(Path(name), Path(name).name)
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return _read(_FOLDER / f"{name}.toml", name)


def _read(path: Path, name: str) -> Recipe:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return parse(Recipe, {"name": name, "sources": {}, "published": [], **document}, "recipe")
    except OSError as error:
        near = nearest_beside(path, lambda one: one.suffix == ".toml")
        raise InputError(
            f"{path} cannot be read: {error.strerror}.{near} Recipes that come along: {', '.join(RECIPES)}."
        ) from error
    except (ValueError, TypeError) as error:  # what is no TOML or no UTF-8 is a ValueError
        raise InputError(f"{path} is no recipe: {error}. It needs a title, a dataset and [settings].") from error
