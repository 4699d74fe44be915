"""What is asked of an export: T, form, precision, target, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tks_edge_export.errors import ExportError
from tks_edge_export.targets import Target, find_target
from tks_edge_runtime.artifact import FORMS as FORMS
from tks_edge_runtime.artifact import MAX_TIMESTEPS
from tks_edge_runtime.errors import unknown

PRECISIONS = ("fp32", "fp16", "int8")
MEMBRANES = ("fp32", "fp16")


@dataclass(frozen=True)
class Options:
    """How a network is lowered to a graph.

    Attributes:
        timesteps: T, 1 to `MAX_TIMESTEPS`; a step graph's T is the number of steps that it is verified at.
        form: "static", all timesteps in one graph; or "step", one timestep with the states as inputs and outputs.
        precision: "fp32"; "fp16": weights, spikes and currents; "int8": weights, and spikes as exact integers.
        membrane: of fp16 graphs, "fp16" or "fp32".
        target: a key of `TARGETS`.
        frames: whether every timestep has an input of its own, `[N, T, ...]`, rather than one still image.
        per_step: whether the graph also gives `logits_per_step`, `[T, N, K]`.
        quantize_ends: whether int8 covers the first layers, whose inputs are no spikes, and the classifier.
        keep_float: module paths of layers that int8 leaves alone.
        skip: names of passes that are left out, for debugging.
        passes: names of installed plugins' passes that are applied as well, in this order.

    Raises:
        ExportError: a number out of range, or options that exclude each other.
        InputError: a name that is not known.
    """

    timesteps: int
    form: str = "static"
    precision: str = "fp32"
    membrane: str = "fp32"
    target: str = "generic"
    frames: bool = False
    per_step: bool = False
    quantize_ends: bool = False
    keep_float: tuple[str, ...] = ()
    skip: frozenset[str] = field(default_factory=frozenset)
    passes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if type(self.timesteps) is not int or not 1 <= self.timesteps <= MAX_TIMESTEPS:
            raise ExportError(f"timesteps is {self.timesteps!r}; a static graph is made for 1 to {MAX_TIMESTEPS}.")
        names("keep_float", self.keep_float)
        names("skip", self.skip)
        names("passes", self.passes)
        named = (
            ("form", self.form, FORMS),
            ("precision", self.precision, PRECISIONS),
            ("membrane", self.membrane, MEMBRANES),
        )
        for kind, got, allowed in named:
            if got not in allowed:
                raise unknown(kind, got, allowed)
        find_target(self.target)
        if self.membrane == "fp16" and self.precision != "fp16":
            raise ExportError(f"membranes in fp16 belong to --precision fp16; this is {self.precision}.")
        if self.precision != "int8" and (self.quantize_ends or self.keep_float):
            raise ExportError(
                f"the precision is {self.precision}; which layers are quantized is a choice of int8 alone."
            )
        if self.form == "step" and self.per_step:
            raise ExportError("a step graph gives the logits of every step anyway; leave --per-step out.")

    @property
    def lowering(self) -> Target:
        """The target's forms."""
        return find_target(self.target)

    @property
    def fuses_hard_sigmoid(self) -> bool:
        """Whether spikes may take the form that the target computes inside a convolution."""
        return self.precision == "fp32" and self.lowering.fuses_hard_sigmoid

    @property
    def codes_currents(self) -> bool:
        """Whether membranes are 8-bit codes."""
        return self.precision == "int8" and self.lowering.codes_currents


def names(what: str, got: Iterable[str]) -> tuple[str, ...]:
    """Several names, as a tuple.

    Raises:
        ExportError: one string, whose letters are no names, or something else that is no name.
    """
    is_list = isinstance(got, Iterable) and not isinstance(got, str)
    several = tuple(got) if is_list else ()
    wrong = [name for name in several if not isinstance(name, str)]
    if not is_list or wrong:
        one, example = wrong[0] if wrong else got, got if isinstance(got, str) else "head"
        raise ExportError(f"{what}: got {one!r}; a list of names is needed, such as [{example!r}].")
    return several
