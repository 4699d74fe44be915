"""Where a network comes from that was not trained here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NIR, PYTHON = "nir", "python"


@dataclass(frozen=True)
class Origin:
    """What an import notes of its source.

    Attributes:
        source: "nir", a file of NIR, or "python", a function that builds the network.
        name: of the file, or "package.module:factory".
        library: what read it or what its neurons are of, with the version.
        sha256: of the file of NIR, or of that with the weights; None where the function brings them.
        options: what was told on the command line, by the names of its options.
    """

    source: str
    name: str
    library: str
    sha256: str | None
    options: dict[str, Any]
