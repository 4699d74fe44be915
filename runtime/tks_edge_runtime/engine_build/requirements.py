"""What building an engine and running it need of a machine."""

from __future__ import annotations

from tks_edge_runtime.backends import cuda
from tks_edge_runtime.backends.tensorrt_library import import_library
from tks_edge_runtime.engine_build import builder


def require() -> None:
    """Say what this machine lacks for building engines and running them, and the command that helps on it.

    Raises:
        MissingError: TensorRT, cuda-bindings, Polygraphy, the driver or a GPU is missing, or too old.
    """
    import_library()
    cuda.require()
    builder.require()
