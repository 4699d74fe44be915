"""Options of the ways onto a board, `deploy` and `bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion

ExtrasOption = Annotated[
    str,
    typer.Option(
        help="Of the runtime, what to install with it: onnxruntime, openvino, several, or none.",
        autocompletion=completion.backend_extra,
    ),
]
RuntimeWheelOption = Annotated[
    Path | None,
    typer.Option(
        help="A wheel of tks-edge-runtime to install. (default: that of this tks-edge, built now)",
        autocompletion=completion.wheel,
    ),
]
