"""The graphs that are asked for together, where an option that changes none is refused; and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge_runtime.errors import InputError, unknown

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.views import View
    from tks_edge_export import Exported, Options, Source

_CALIBRATION_SAMPLES = 128


@dataclass(frozen=True)
class Asked:
    """The options that decide what is in a graph; None or empty where one was not given.

    Attributes:
        precisions: of the graphs, each a name of `tks_edge_export.PRECISIONS`.
        forms: likewise, of `FORMS`.
        target: the engine that they are lowered for.
        membrane: of fp16 graphs.
        quantize_ends: whether int8 covers the first layer and the classifier.
        keep_float: module paths of layers that int8 leaves alone.
        calibration_samples: how many training samples int8 may look at.
        per_step: whether a static graph gives the logits of every step.
        skip: names of passes that are left out.
        passes: names of plugins' passes that are applied as well.

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
    skip: frozenset[str] = frozenset()
    passes: tuple[str, ...] = ()

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
                    passes=self.passes,
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


@dataclass(frozen=True)
class Writing:
    """How files are written, whatever is in them.

    Attributes:
        folder: where they go.
        batch_size: N; it is static.
        input_dtype: of the raw pixels.
        verify_samples: how many test samples are compared.
        evaluation_set: whether the test samples are written beside them.

    Raises:
        InputError: no such dtype.
    """

    folder: Path
    batch_size: int = 1
    input_dtype: str = "uint8"
    verify_samples: int = 128
    evaluation_set: bool = True

    def __post_init__(self) -> None:
        from tks_edge_export.artifact import INPUT_DTYPES

        if self.input_dtype not in INPUT_DTYPES:
            raise unknown("input dtype", self.input_dtype, INPUT_DTYPES)

    def compared(self, there: int) -> int:
        """How many samples a file is compared on, of those that are there."""
        return min(self.verify_samples, there)


class Writer:
    """Writes graphs of one source, which is captured once; the evaluation set is written when it is made.

    Attributes:
        compared: how many samples each graph is compared on.

    Raises:
        ExportError: the network cannot be captured.
    """

    def __init__(self, source: Source, how: Writing) -> None:
        from tks_edge_export import Exporter, record_evaluation_set

        self._how = how
        self._exporter = Exporter(
            source, batch_size=how.batch_size, input_dtype=how.input_dtype, frames=source.frames is not None
        )
        self._evaluation = record_evaluation_set(source.samples, how.folder, write=how.evaluation_set)
        self.compared = how.compared(self._evaluation.samples)

    def write(self, options: Options, on_progress: Callable[[int], None] | None = None) -> Exported:
        """Lower the network, compare the graph with it, and write it; see `Exporter.write`."""
        return self._exporter.write(
            options,
            self._how.folder,
            verify_samples=self._how.verify_samples,
            evaluation=self._evaluation,
            on_progress=on_progress,
        )
