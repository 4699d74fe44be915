"""The versions of what matters for a result, read without importing any of it but the engine's own library."""

from __future__ import annotations

import platform
from importlib import metadata

from tks_edge_runtime.machine import nvidia_driver

LIBRARIES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")
"""What a board's program computes with, by the names of the distributions."""


def installed(distribution: str) -> str | None:
    """Return the version of a distribution that is installed here; None for one that is not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """The versions of Python, the system, the libraries that are installed, ONNX Runtime's providers, and the driver.

    Args:
        libraries: the names of distributions.
    """
    found = {"Python": platform.python_version(), "platform": platform.platform()}
    found |= {name: version for name in libraries if (version := installed(name)) is not None}
    providers = _providers() if any(name.startswith("onnxruntime") for name in found) else None
    found |= {} if providers is None else {"providers": providers}
    driver = nvidia_driver()
    return found | ({} if driver is None else {"NVIDIA driver": driver})


def _providers() -> str | None:
    """What ONNX Runtime was built to compute on; None where its library does not load."""
    from tks_edge_runtime.backends.onnxruntime_devices import import_library
    from tks_edge_runtime.errors import MissingError

    try:
        return ", ".join(import_library().get_available_providers())
    except MissingError:
        return None
