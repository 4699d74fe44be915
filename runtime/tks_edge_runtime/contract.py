"""Whether a graph is the one that its manifest describes, for how many steps it runs, and which arrays it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tks_edge_runtime.artifact import STEP, Artifact, TensorSpec
from tks_edge_runtime.backends import Engine, Port
from tks_edge_runtime.errors import ArtifactError, InputError


def check_ports(artifact: Artifact, engine: Engine) -> None:
    """Refuse a graph that is not the one its manifest describes: from here on the manifest is believed.

    Raises:
        ArtifactError: an input or output is missing, one too many, or of another shape or dtype.
    """
    manifest = artifact.manifest
    inputs, outputs = [_port(manifest.input)], [_port(spec) for spec in manifest.outputs]
    for state in manifest.states:
        inputs.append(Port(state.input, state.shape, state.dtype))
        outputs.append(Port(state.output, state.shape, state.dtype))
    logits = Port("logits", (manifest.input.shape[0], len(manifest.classes)), "float32")
    problem = (
        _difference("input", engine.inputs, inputs)
        or _difference("output", engine.outputs, outputs)
        or _difference("output", [port for port in outputs if port.name == "logits"], [logits])
    )
    if problem is not None:
        raise ArtifactError(f"{artifact.path}: its graph is not what its manifest says: {problem}. Export it again.")


def _port(spec: TensorSpec) -> Port:
    return Port(spec.name, spec.shape, spec.dtype)


def _difference(kind: str, found: Sequence[Port], expected: Sequence[Port]) -> str | None:
    """What the first difference is, in words; the order does not matter."""
    lacking = next((port for port in expected if port not in found), None)
    if lacking is not None:
        return f"it has no {kind} {lacking}"
    unexpected = next((port for port in found if port not in expected), None)
    return None if unexpected is None else f"it has an {kind} {unexpected} too many"


def timesteps_of(artifact: Artifact, steps: int | None) -> int:
    """The T that is run: that of the manifest, or of a step artifact a smaller one.

    Raises:
        InputError: the artifact cannot be run for so many steps.
    """
    manifest = artifact.manifest
    if steps is None or steps == manifest.timesteps:
        return manifest.timesteps
    if manifest.form != STEP:
        raise InputError(
            f"{artifact.path} is a static graph of T={manifest.timesteps} and cannot run at T={steps}. Export it with "
            f"--timesteps {steps}, or with --form step."
        )
    if not 1 <= steps <= manifest.timesteps:
        raise InputError(f"steps is {steps}; {artifact.path} was exported for 1 to {manifest.timesteps}.")
    return steps


class InputCheck:
    """Compares arrays with the input of a manifest; made once, since it is asked before every inference."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._dtype = np.dtype(spec.dtype)

    def batch(self, got: object) -> None:
        """Refuse what is not exactly one static batch: an array of the input's shape and dtype (InputError)."""
        if not isinstance(got, np.ndarray) or got.shape != self._spec.shape or got.dtype != self._dtype:
            raise self._error(got, "one batch")

    def samples(self, got: object) -> None:
        """Refuse what is not an array of at least one sample, `[M, ...]`, of the input's dtype (InputError)."""
        sample = self._spec.shape[1:]
        if (
            not isinstance(got, np.ndarray)
            or got.ndim != len(sample) + 1
            or got.shape[1:] != sample
            or len(got) < 1
            or got.dtype != self._dtype
        ):
            raise self._error(got, "any number of samples")

    def _error(self, got: object, what: str) -> InputError:
        expected = f"{self._spec.dtype}{list(self._spec.shape)} ({self._spec.layout}: {self._spec.meaning})"
        if isinstance(got, np.ndarray):
            found = f"an array {got.dtype}{list(got.shape)}"
        else:
            found = f"{type(got).__name__}, not a NumPy array"
        return InputError(f"the input is {found}; expected is {what} of {expected}.")
