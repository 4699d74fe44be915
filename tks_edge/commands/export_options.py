"""The graphs that the options of `tks-edge export` ask for together; an option that changes none is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.errors import InputError, unknown

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.views import View
    from tks_edge_export import Options
    from tks_edge_runtime.command import Output

_CALIBRATION_SAMPLES = 128


@dataclass(frozen=True)
class Asked:
    """The options that decide what is in a graph; None or empty where one was not given.

    Raises:
        InputError: an option could change none of the graphs.
    """

    precisions: tuple[str, ...]
    forms: tuple[str, ...]
    target: str
    membrane: str | None
    quantize_ends: bool
    keep_float: tuple[str, ...]
    calibration_samples: int | None
    per_step: bool
    skip: frozenset[str]

    def __post_init__(self) -> None:
        bound = (
            ("--membrane", self.membrane is not None, "--precision", "fp16", self.precisions),
            ("--quantize-ends", self.quantize_ends, "--precision", "int8", self.precisions),
            ("--keep-float", bool(self.keep_float), "--precision", "int8", self.precisions),
            ("--calibration-samples", self.calibration_samples is not None, "--precision", "int8", self.precisions),
            ("--per-step", self.per_step, "--form", "static", self.forms),
        )
        for option, given, where, needed, got in bound:
            if given and needed not in got:
                raise InputError(
                    f"{option} changes nothing: it is of {needed} graphs, and {where} asks for {','.join(got)}. "
                    f"Add {needed} there, or leave {option} out."
                )

    @property
    def calibration(self) -> int:
        """How many training samples int8 may look at."""
        return _CALIBRATION_SAMPLES if self.calibration_samples is None else self.calibration_samples

    def graphs(self, run: Run, views: Sequence[View]) -> list[Options]:
        """Every graph to write, checked as far as it can be before anything is computed.

        A static graph for each T; one step graph, which serves every T up to the largest.

        Raises:
            InputError: a name that is not known, or a form or option that the run's network has no use for.
            ExportError: options that exclude each other, or a pass that cannot be skipped.
        """
        from tks_edge_export.passes import FOR_ONNXRUNTIME, check_skipped

        self._check_network(run)
        timesteps = tuple(view.timesteps for view in views)
        if "step" in self.forms and len(views) > 1 and any(view.is_restated for view in views):
            raise InputError(
                f"a step graph of whole recordings serves one T, since fewer frames hold more events each; got "
                f"{', '.join(map(str, timesteps))}. Give one --timesteps, or --frames first."
            )
        wanted = list(self._wanted(timesteps))
        for options in wanted:
            check_skipped(options)
        idle = self.skip & {made.name for made in FOR_ONNXRUNTIME}
        if idle and not any(options.fuses_hard_sigmoid for options in wanted):
            raise InputError(
                f"--skip-pass {min(idle)} changes nothing: it is of fp32 graphs for onnxruntime-cpu, and none is asked "
                "for. Leave it out."
            )
        return wanted

    def check_calibration(self, rows: Sequence[dict[str, Any]], out: Output) -> None:
        """Say so where samples were offered and none of the artifacts, by their rows, has anything calibrated."""
        if self.calibration_samples is not None and not any(row["calibrated"] for row in rows):
            out.warn("--calibration-samples changed nothing: int8 holds all that it rounds here exactly.")

    def _wanted(self, timesteps: tuple[int, ...]) -> Iterator[Options]:
        from tks_edge_export import Options

        shapes = [(form, t) for form in self.forms for t in (timesteps if form == "static" else (max(timesteps),))]
        for precision in self.precisions:
            is_int8 = precision == "int8"
            for form, t in shapes:
                yield Options(
                    t,
                    form=form,
                    precision=precision,
                    membrane=self.membrane if self.membrane is not None and precision == "fp16" else "fp32",
                    target=self.target,
                    per_step=self.per_step and form == "static",
                    quantize_ends=self.quantize_ends and is_int8,
                    keep_float=self.keep_float if is_int8 else (),
                    skip=self.skip,
                )

    def _check_network(self, run: Run) -> None:
        from tks_edge_export.reference import holds_weights

        if not run.network.is_spiking:
            if self.forms != ("static",):
                raise InputError(
                    f"{run.path} is a ReLU network: it has no state to hand from step to step. Use --form static."
                )
            if self.membrane is not None:
                raise InputError(f"{run.path} is a ReLU network: it has no membrane. Leave --membrane out.")
        layers = [name for name, _ in run.network.named_modules() if holds_weights(run.network, name)]
        for name in self.keep_float:
            if name not in layers:
                raise unknown("layer", name, layers)
