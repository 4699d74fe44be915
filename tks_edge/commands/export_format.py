"""What `tks-edge export --format` asks for; an option that a format has no use for is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tks_edge_runtime.errors import InputError, unknown

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.commands.export_engine import Engines
    from tks_edge.graphs import Asked
    from tks_edge_export.torch_tensorrt import Gpu

ONNX, TRT, TORCH_TRT, NIR = "onnx", "trt", "torch-trt", "nir"
FORMATS = (ONNX, TRT, TORCH_TRT, NIR)
_TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Format:
    """The format of an export.

    Attributes:
        name: one of `FORMATS`.
        require_engine: of `trt`, whether it is an error that no engine can be built here.
        low_memory: of `trt`, whether engines are built as on a board with little memory.
        dt: of `nir`, the seconds that a timestep stands for; None for the default.

    Raises:
        InputError: an unknown format, or an option of another one.
    """

    name: str
    require_engine: bool = False
    low_memory: bool = False
    dt: float | None = None

    def __post_init__(self) -> None:
        if self.name not in FORMATS:
            raise unknown("format", self.name, FORMATS)
        if self.dt is not None and self.name != NIR:
            raise InputError(f"--dt changes nothing: --format {self.name} has timesteps, not seconds. Leave it out.")
        for option, given in (("--require-engine", self.require_engine), ("--low-memory", self.low_memory)):
            if given and self.name != TRT:
                raise InputError(
                    f"{option} changes nothing: it is of engines that are built here, and --format asks for "
                    f"{self.name}. Use --format trt, or leave {option} out."
                )

    def target(self, asked: str | None) -> str:
        """The target that graphs are lowered for, given that of `--target`.

        Raises:
            InputError: the format has another one, or none.
        """
        if asked is None:
            return _TENSORRT if self.name == TRT else "generic"
        if self.name == TRT and asked != _TENSORRT:
            raise InputError(
                f"--format trt lowers for tensorrt, which builds the engine; --target asks for {asked}. Leave --target "
                f"out, or use --format onnx."
            )
        if self.name == TORCH_TRT:
            raise InputError(
                f"--target changes nothing: --format torch-trt compiles the PyTorch network, not a graph lowered for "
                f"{asked}. Leave --target out, or use --format onnx."
            )
        return asked

    def check(self, asked: Asked) -> None:
        """Refuse what graphs can be and a torch-exported program cannot; InputError."""
        if self.name != TORCH_TRT:
            return
        for option, got, only in (("--precision", asked.precisions, "fp32"), ("--form", asked.forms, "static")):
            if got != (only,):
                raise InputError(
                    f"{option} is {','.join(got)}, but --format torch-trt compiles the PyTorch network as it is: "
                    f"{only}. Leave it out, or use --format trt."
                )
        for option, given in (
            ("--per-step", asked.per_step),
            ("--skip-pass", bool(asked.skip)),
            ("--pass", bool(asked.passes)),
        ):
            if given:
                raise InputError(
                    f"{option} changes nothing: it is of ONNX graphs, and --format torch-trt writes none. Leave it "
                    "out, or use --format trt."
                )

    def check_samples(self, run: Run) -> None:
        """Refuse a run whose network a torch-exported program cannot hold; InputError."""
        if self.name == TORCH_TRT and run.config.train.frames is not None:
            raise InputError(
                f"{run.path} was trained on frames, and --format torch-trt compiles networks for still images. Use "
                "--format trt."
            )

    def engines(self) -> Engines | None:
        """What builds the engines of graphs; None where none are asked for."""
        from tks_edge.commands.export_engine import Engines

        return Engines(required=self.require_engine, low_memory=self.low_memory) if self.name == TRT else None

    def gpu(self) -> Gpu | None:
        """The GPU that programs are compiled for; None where graphs are asked for.

        Raises:
            MissingError: torch-tensorrt, CUDA or a GPU is missing.
        """
        if self.name != TORCH_TRT:
            return None
        from tks_edge_export.torch_tensorrt import require

        return require()
