"""How fast each tactic was, kept from build to build: the next engine for this GPU and version needs no new timing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tks_edge_runtime.engine_build.cache import cache_folder, locked
from tks_edge_runtime.engine_build.origin import Origin
from tks_edge_runtime.files import replacing


def timing_cache_path(origin: Origin) -> Path:
    """Where the timings of this GPU and TensorRT version are: those of another would be worthless."""
    parts = (origin.gpu, origin.compute_capability, str(origin.multiprocessors), origin.tensorrt, origin.system)
    return cache_folder() / f"timing-{re.sub('[^a-z0-9.]+', '-', ' '.join(parts).lower())}.timings"


def save_timings(path: Path, config: Any) -> bool:
    """Add what a build timed to the file at `path`, whole or not at all; False where TensorRT has nothing to save.

    Another build may have added its own meanwhile: both are kept. Where there is nothing, TensorRT refused the timings
    that were there: they are removed, so that the next build begins with none.
    """
    timed = config.get_timing_cache()
    if timed is None:
        path.unlink(missing_ok=True)
        return False
    with locked(path):
        if path.exists():
            before = config.create_timing_cache(path.read_bytes())
            if before is not None:
                timed.combine(before, ignore_mismatch=False)
        with replacing(path) as temporary:
            temporary.write_bytes(memoryview(timed.serialize()))
    return True
