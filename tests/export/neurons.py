"""Constants of LIF layers to draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from tks_edge_models import LIFParameters

ANY_RESET: st.SearchStrategy[float | None] = st.one_of(st.none(), st.just(0.0), st.floats(-1.0, -0.0625))
"""Soft, hard to rest at 0, and hard to another potential."""


def neurons(
    *,
    tau: st.SearchStrategy[float] | None = None,
    v_threshold: st.SearchStrategy[float] | None = None,
    v_reset: st.SearchStrategy[float | None] = ANY_RESET,
    decay_input: st.SearchStrategy[bool] | None = None,
) -> st.SearchStrategy[LIFParameters]:
    """Neurons of every kind, but for what is narrowed."""
    return st.builds(
        LIFParameters,
        tau=st.floats(1.0, 16.0) if tau is None else tau,
        v_threshold=st.floats(0.125, 2.0) if v_threshold is None else v_threshold,
        v_reset=v_reset,
        decay_input=st.booleans() if decay_input is None else decay_input,
    )
