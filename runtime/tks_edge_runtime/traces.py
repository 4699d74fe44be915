"""Traces as text: every run of a measurement in a form that is small in JSON, and that a shell can unpack.

A trace is packed as one time in ms a line, to 4 significant digits, compressed with gzip, in base64:

    jq -r '.rows[0].traces.e2e' report.json | base64 -d | gunzip
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import math
import zlib
from array import array
from collections.abc import Sequence

_CHUNK = 100_000


def pack(trace_ms: Sequence[float]) -> str:
    """Pack the times of a trace, in ms and in order; the same times give the same text."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file:
        for start in range(0, len(trace_ms), _CHUNK):
            lines = (f"{time:.4g}\n" for time in trace_ms[start : start + _CHUNK])
            file.write("".join(lines).encode("ascii"))
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def unpack(packed: str) -> array[float]:
    """Return the times of a packed trace, in ms and in order.

    Raises:
        ValueError: the text is damaged, or holds something else than finite times of 0 and more.
    """
    try:
        lines = gzip.decompress(base64.b64decode(packed, validate=True)).split()
        times = array("d", map(float, lines))
    except (binascii.Error, EOFError, OSError, zlib.error, ValueError) as error:
        raise ValueError(f"a trace is damaged ({error})") from error
    if not math.isfinite(sum(times)) or min(times, default=0.0) < 0:  # of a NaN, too, the sum is none
        raise ValueError("a trace holds something else than finite times of 0 and more")
    return times
