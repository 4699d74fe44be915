"""What the opener of a data set is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tks_edge.settings.frames import FrameSettings


@dataclass(frozen=True)
class Request:
    """How a data set is to be opened.

    Attributes:
        name: the data set.
        root: the folder that holds it; a folder that is not there for an embedded one.
        image_size: height and width of an input, in pixels.
        timesteps: how many frames a recording is cut into; still images have none.
        frames: how it is cut.
        download: whether what is missing is fetched.
    """

    name: str
    root: Path
    image_size: int
    timesteps: int = 1
    frames: FrameSettings = field(default_factory=FrameSettings)
    download: bool = False
