from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tks_edge.schedule import END, START, Schedule


def test_warm_up_then_cosine() -> None:
    schedule = Schedule(peak=1e-2, warmup=10, total=110)
    assert schedule(0) == START
    assert math.isclose(schedule(5), (START + 1e-2) / 2, rel_tol=1e-12)
    assert schedule(10) == 1e-2
    assert math.isclose(schedule(60), (END + 1e-2) / 2, rel_tol=1e-12)
    assert END < schedule(109) < 2 * END


@given(peak=st.floats(1e-8, 1.0), warmup=st.integers(0, 20), rest=st.integers(1, 50))
def test_it_rises_to_the_peak_and_never_after(peak: float, warmup: int, rest: int) -> None:
    schedule = Schedule(peak, warmup, warmup + rest)
    rates = [schedule(step) for step in range(warmup + rest)]
    assert all(rate > 0 for rate in rates)
    assert math.isclose(rates[warmup], peak, rel_tol=1e-9)
    assert all(later <= earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
