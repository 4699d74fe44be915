"""One thing that doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing", "absent"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    `status` is "ok"; "warning": it works, with a reservation; "missing": something cannot run without it; "absent": not
    here, and only needed for other work. `advice` says what to do, where there is something to do.
    """

    subject: str
    status: Status
    found: str
    advice: str | None = None
