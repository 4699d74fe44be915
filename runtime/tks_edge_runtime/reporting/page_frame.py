"""What every page is made of: one file that needs nothing else, with style, script and plots inside."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup


def render_page(template: str, **values: Any) -> str:
    """Fill in a template of this package; names and texts are escaped, only the style sheets and the script are markup.

    Args:
        template: extends `base.html.j2`.
        values: what it names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tks_edge_runtime.reporting", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _file("report.js")
    return environment.get_template(template).render(
        style=Markup(_file("style.css")),  # noqa: S704 - a file of this package
        dark=Markup(_file("dark.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def _file(name: str) -> str:
    return resources.files("tks_edge_runtime.reporting").joinpath(f"page/{name}").read_text(encoding="utf-8")
