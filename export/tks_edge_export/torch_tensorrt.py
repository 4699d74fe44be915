"""A network compiled for the NVIDIA GPU of this machine by torch-tensorrt: a torch-exported program with engines in it.

For hosts that have torch. What travels is the ONNX file; this program belongs to the GPU and the versions that it was
made with, and loading it runs what is in it.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from tks_edge_export.artifact import INPUT_DTYPES
from tks_edge_export.errors import ExportError
from tks_edge_export.probe import reason
from tks_edge_export.program import Unrolled, unrolled_program
from tks_edge_export.program_comparison import ProgramComparison, compare_program, logits_of
from tks_edge_export.source import Source, evenly_spaced, first_batch, network_spec, neuron_spec
from tks_edge_export.unroll import INPUT, LOGITS
from tks_edge_export.values import Array
from tks_edge_runtime.artifact import EvaluationSpec, Precision, TensorSpec, artifact_stem
from tks_edge_runtime.errors import MissingError, unknown
from tks_edge_runtime.files import replacing, sha256_of, write_json

FORMAT = "torch-trt"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Gpu:
    """What a program is compiled for: torch's name of the device, and what an engine belongs to."""

    device: str
    name: str
    compute_capability: str
    multiprocessors: int


@dataclass(frozen=True)
class Program:
    """A program that was written, the JSON file beside it, and the comparison it passed."""

    path: Path
    sidecar: Path
    gpu: Gpu
    comparison: ProgramComparison


def require() -> Gpu:
    """The GPU that programs are compiled for.

    Raises:
        MissingError: torch-tensorrt, a library of its own, CUDA or a GPU is missing.
    """
    lacks = []
    if find_spec("torch_tensorrt") is None:
        lacks.append("torch-tensorrt is not installed (in a checkout of tks-edge: pip install '.[torch-trt]')")
    if torch.version.cuda is None:
        lacks.append("this PyTorch was built without CUDA (see pytorch.org for one that has it)")
    elif not torch.cuda.is_available():
        lacks.append("PyTorch finds no NVIDIA GPU or no driver for one (nvidia-smi should list it)")
    if lacks:
        raise MissingError(
            f"--format {FORMAT} compiles on the GPU that will run the program, and cannot here: {'; '.join(lacks)}. "
            "--format trt writes a file that a device without PyTorch can build from."
        )
    _library()
    properties = torch.cuda.get_device_properties(0)
    capability = f"{properties.major}.{properties.minor}"
    return Gpu("cuda:0", properties.name, capability, properties.multi_processor_count)


class ProgramExporter:
    """Writes programs of one network, each for one T, in float32.

    Args:
        source: the trained network, one of ours.
        gpu: what `require` gave.
        batch_size: N, the static batch of the programs.
        input_dtype: "uint8" or "float32"; raw pixels 0..255 either way.

    Raises:
        ExportError: the network is not one of ours, or the batch size is out of range.
        InputError: an unknown dtype.
    """

    def __init__(self, source: Source, gpu: Gpu, *, batch_size: int = 1, input_dtype: str = "uint8") -> None:
        if input_dtype not in INPUT_DTYPES:
            raise unknown("input dtype", input_dtype, INPUT_DTYPES)
        self._source = source
        self._gpu = gpu
        self._example = first_batch(source.samples.inputs, batch_size).astype(input_dtype)
        Unrolled(source.network, 1)

    def write(
        self,
        timesteps: int,
        folder: Path,
        *,
        verify_samples: int = 128,
        evaluation: EvaluationSpec | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Program:
        """Compile all T timesteps into one engine, compare it with the network, and write the program.

        The file `NAME-tT-fp32-torch-trt.pt2` is compared as loaded back, before it gets its name; where anything fails,
        what stood there before stays. Beside it come a JSON file that says what it is, and the golden pair.

        Args:
            timesteps: T.
            folder: where the files go.
            verify_samples: how many samples are compared.
            evaluation: what `record_evaluation_set` gave, or None.
            on_progress: called with the number of samples compared.

        Raises:
            ExportError: torch-tensorrt cannot compile the whole network.
            MissingError: the GPU's memory does not suffice.
            VerificationError: the program is not the network.
        """
        source, gpu = self._source, self._gpu
        network = Unrolled(source.network, timesteps)
        golden_logits = logits_of(network, self._example)
        example = torch.from_numpy(self._example).to(gpu.device)
        program = unrolled_program(Unrolled(source.network, timesteps).to(gpu.device), example)
        compiled = compile_program(program, example)
        stem = artifact_stem(source.name, timesteps, "fp32", target=FORMAT)
        path, golden, sidecar = (folder / f"{stem}{ending}" for ending in (".pt2", ".golden.npz", ".json"))
        with replacing(golden) as golden_file, replacing(path) as program_file, replacing(sidecar) as sidecar_file:
            save_program(compiled, program_file, example)
            with _explained("run"):
                comparison = compare_program(
                    torch.export.load(program_file).module(),
                    network,
                    evenly_spaced(source.samples.inputs, verify_samples).astype(self._example.dtype),
                    (self._example, golden_logits),
                    device=gpu.device,
                    on_progress=on_progress,
                )
            comparison.check(path)
            np.savez_compressed(golden_file, input=self._example, logits=golden_logits)
            files = {"file": path.name, "sha256": sha256_of(program_file), "golden_file": golden.name}
            document = {"schema_version": SCHEMA_VERSION, "format": FORMAT, **files, "timesteps": timesteps}
            document |= _of_the_network(source, self._example, golden_logits)
            document |= {"evaluation": None if evaluation is None else asdict(evaluation), "gpu": asdict(gpu)}
            document |= {"verification": {**asdict(comparison), "spikes": None}, **_of_the_tools()}
            write_json(sidecar_file, document)
        return Program(path, sidecar, gpu, comparison)


def compile_program(program: ExportedProgram, example: torch.Tensor) -> nn.Module:
    """Turn the whole of a program into an engine; nothing of it is left to PyTorch.

    Raises:
        ExportError: TensorRT does not run all of it, or refuses it.
        MissingError: the GPU's memory does not suffice.
    """
    library = _library()
    with _explained("compile"):
        # TF32 keeps 10 bits of a factor: membranes near the threshold would end on its other side.
        compiled: nn.Module = library.dynamo.compile(
            program, arg_inputs=(example,), disable_tf32=True, require_full_compilation=True
        )
    return compiled


def save_program(compiled: nn.Module, path: Path, example: torch.Tensor) -> None:
    """Write a compiled program as `torch.export.load` reads it.

    Raises:
        ExportError: torch-tensorrt refuses.
    """
    library = _library()
    with _explained("save"):
        library.save(compiled, str(path), output_format="exported_program", arg_inputs=[example])


def _library() -> Any:
    try:
        # Where TensorRT's own library is missing it says so on standard output, and raises a bare Exception.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module("torch_tensorrt")
    except Exception as error:
        raise MissingError(
            f"torch-tensorrt is installed and cannot be loaded ({reason(error)}). It needs the TensorRT and the "
            "PyTorch that it was made for; in a checkout of tks-edge: pip install '.[torch-trt]'"
        ) from error


@contextlib.contextmanager
def _explained(verb: str) -> Iterator[None]:
    """Name what failed in the library; its exceptions have no root of their own."""
    try:
        with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
            yield
    except torch.cuda.OutOfMemoryError as error:
        raise MissingError(
            "the memory of the GPU does not suffice for torch-tensorrt. Close other programs, or use a smaller "
            "--batch-size or T."
        ) from error
    except OSError:
        raise
    except Exception as error:
        raise ExportError(
            f"torch-tensorrt cannot {verb} the network: {reason(error).rstrip('.')}. Use --format trt instead."
        ) from error


def _of_the_network(source: Source, pixels: Array, logits: Array) -> dict[str, Any]:
    """What a graph's manifest says of its network, under the same names."""
    neuron = neuron_spec(source.network)
    return {
        "name": source.name,
        "network": asdict(network_spec(source.network)),
        "train_timesteps": source.train_timesteps,
        "neuron": None if neuron is None else asdict(neuron),
        "precision": asdict(Precision("fp32", "float32", "float32", "float32")),
        "input": asdict(TensorSpec(INPUT, pixels.shape, pixels.dtype.name, "NCHW", "raw pixels, 0 to 255")),
        "outputs": [asdict(TensorSpec(LOGITS, logits.shape, "float32", "NK", "mean of the logits over the timesteps"))],
        "preprocessing": None if source.preprocessing is None else asdict(source.preprocessing),
        "classes": list(source.classes),
        "accuracies": [asdict(accuracy) for accuracy in source.accuracies],
        "weights_sha256": source.weights_sha256,
    }


def _of_the_tools() -> dict[str, Any]:
    return {
        "tools": {
            "tks-edge": version("tks-edge"),
            "torch": str(torch.__version__),
            "torch-tensorrt": str(_library().__version__),
            "tensorrt": str(importlib.import_module("tensorrt").__version__),
        },
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
