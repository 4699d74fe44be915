"""Every call of TensorRT and CUDA, compared with the real bindings of one version, by the name and the arguments.

To be run in one of the environments of `binding_environments`, with a folder of artifacts. The runtime builds and runs
them there on the fakes, but sees these only through the real classes: a class, method, property or member of an
enumeration that the version does not have is an AttributeError, an argument that the real signature does not take a
TypeError. The signatures are those of the docstrings, since the bindings have no others.

It prints, as JSON, which attributes were used. This compares an interface: nothing ran on a GPU.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

USED: set[str] = set()


class Overload:
    """One signature out of a docstring: `name(self: Class, size: int = 0) -> Result`."""

    def __init__(self, text: str) -> None:
        # A default that is an enumeration's member is written <Name.MEMBER: 0>, which is no Python.
        parsed = ast.parse(f"def {re.sub(r'<[^<>]*>', 'None', text).replace('::', '.')}: pass").body[0]
        assert isinstance(parsed, ast.FunctionDef)
        arguments = parsed.args.args
        defaults = len(arguments) - len(parsed.args.defaults)
        self.kinds = {argument.arg: ast.unparse(argument.annotation or ast.Name("object")) for argument in arguments}
        self.signature = inspect.Signature(
            [
                inspect.Parameter(
                    argument.arg,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=None if index >= defaults else inspect.Parameter.empty,
                )
                for index, argument in enumerate(arguments)
            ]
        )

    def problem(self, trt: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> str | None:
        """Why it does not take these arguments; None where it does."""
        try:
            bound = self.signature.bind(*arguments, **keywords)
        except TypeError as error:
            return str(error)
        wrong = [
            f"{name} is {value!r}, not {self.kinds[name]}"
            for name, value in bound.arguments.items()
            if not fits(trt, self.kinds[name], value)
        ]
        return ", ".join(wrong) or None


def fits(trt: Any, kind: str, value: Any) -> bool:
    """Whether a value is what the real function takes there."""
    name = kind.rpartition(".")[2]
    if isinstance(value, Checked):
        return kind.endswith(f".{type_name(value)}") or kind == "object"
    if kind in ("str", "bool"):
        return type(value).__name__ == kind
    if kind in ("int", "typing.SupportsInt"):
        return isinstance(value, int) and not isinstance(value, bool)
    if name in ("buffer", "Buffer"):
        memoryview(value)
        return True
    if kind.startswith("tensorrt_bindings"):
        # None stands for "not given" where the signature has it as its default.
        return value is None or isinstance(value, getattr(trt, name))
    return True


def overloads(docstring: str | None) -> list[Overload]:
    lines = [re.sub(r"^\d+\. ", "", line.strip()) for line in (docstring or "").splitlines()]
    return [Overload(line) for line in lines if re.match(r"\w+\(self: .*\) -> ", line)]


REAL_NAMES = {
    "FakeBuilder": "Builder",
    "FakeNetwork": "INetworkDefinition",
    "FakeLayer": "ILayer",
    "FakeTensor": "ITensor",
    "FakeBuilderConfig": "IBuilderConfig",
    "FakeTimingCache": "ITimingCache",
    "FakeOnnxParser": "OnnxParser",
    "FakeRuntime": "Runtime",
    "FakeEngine": "ICudaEngine",
    "FakeContext": "IExecutionContext",
    "FakeInspector": "EngineInspector",
}


def type_name(thing: Any) -> str:
    """The name of the real class that a checked fake stands for."""
    return REAL_NAMES[type(object.__getattribute__(thing, "_fake")).__name__]


class Checked:
    """A fake that can only be used as the real class can."""

    def __init__(self, trt: Any, fake: Any) -> None:
        name = REAL_NAMES[type(fake).__name__]
        spec = create_autospec(getattr(trt, name), instance=True, spec_set=True)
        for attribute, value in {"_trt": trt, "_fake": fake, "_spec": spec, "_name": name}.items():
            object.__setattr__(self, attribute, value)

    def __getattr__(self, name: str) -> Any:
        getattr(self._spec, name)
        USED.add(f"{self._name}.{name}")
        found = getattr(self._fake, name)
        if not inspect.ismethod(found):
            return wrapped(self._trt, found)
        return checked(self._trt, found, getattr(getattr(self._trt, self._name), name), f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._spec, name, value)
        member = getattr(getattr(self._trt, self._name), name)
        assert not isinstance(member, property) or member.fset is not None, f"{self._name}.{name} can only be read"
        USED.add(f"{self._name}.{name}")
        setattr(self._fake, name, value)

    def __len__(self) -> int:
        assert hasattr(getattr(self._trt, self._name), "__len__")
        return len(self._fake)

    def __getitem__(self, index: int) -> Any:
        assert hasattr(getattr(self._trt, self._name), "__getitem__")
        return wrapped(self._trt, self._fake[index])


def checked(trt: Any, function: Callable[..., Any], real: Any, name: str) -> Callable[..., Any]:
    """The function, which refuses what the real one does not take."""
    known = overloads(real.__doc__)
    assert known, f"{name} has no signature in its docstring: {real.__doc__!r}"

    def called(*arguments: Any, **keywords: Any) -> Any:
        problems = [overload.problem(trt, (None, *arguments), keywords) for overload in known]
        if all(problem is not None for problem in problems):
            raise TypeError(f"TensorRT {trt.__version__}: {name}: {'; '.join(map(str, problems))}")
        inner = [
            object.__getattribute__(value, "_fake") if isinstance(value, Checked) else value for value in arguments
        ]
        named = {
            key: object.__getattribute__(value, "_fake") if isinstance(value, Checked) else value
            for key, value in keywords.items()
        }
        return wrapped(trt, function(*inner, **named))

    return called


def wrapped(trt: Any, value: Any) -> Any:
    return Checked(trt, value) if type(value).__name__ in REAL_NAMES else value


def real_api() -> SimpleNamespace:
    """The real bindings, without what only their package's __init__ adds."""
    import tensorrt_bindings
    import tensorrt_bindings.tensorrt as trt

    return SimpleNamespace(
        **{name: getattr(trt, name) for name in dir(trt)} | {"__version__": tensorrt_bindings.__version__}
    )


def checked_tensorrt(api: Any) -> Any:
    """The module `tensorrt`: the real enumerations and base classes, and the fakes behind the real classes."""
    from tests.runtime.fake_tensorrt import FakeTensorRT

    class CheckedTensorRT(FakeTensorRT):
        def __getattr__(self, name: str) -> Any:
            if not name.startswith("__"):
                USED.add(name)
            return super().__getattr__(name)

        def made(self, thing: Any) -> Any:
            return wrapped(api, thing)

        def _constructed(self, name: str, make: Callable[..., Any], *arguments: Any) -> Any:
            USED.add(name)
            return checked(api, make, getattr(api, name).__init__, f"{name}.__init__")(*arguments)

        def Builder(self, *arguments: Any) -> Any:  # noqa: N802
            return self._constructed("Builder", super().Builder, *arguments)

        def OnnxParser(self, *arguments: Any) -> Any:  # noqa: N802
            return self._constructed("OnnxParser", super().OnnxParser, *arguments)

        def Runtime(self, *arguments: Any) -> Any:  # noqa: N802
            return self._constructed("Runtime", super().Runtime, *arguments)

    return CheckedTensorRT(api)


def checked_cuda(cuda: Any, real: Any) -> None:
    """Let the fake take only what the real functions take, and return the real codes."""
    cuda.cudaError_t, cuda.cudaMemcpyKind = real.cudaError_t, real.cudaMemcpyKind
    cuda.cudaStreamCaptureMode = real.cudaStreamCaptureMode
    assert (real.cudaStreamNonBlocking, real.cudaEventDefault) == (cuda.cudaStreamNonBlocking, cuda.cudaEventDefault)
    properties = real.cudaDeviceProp()
    for name in vars(cuda.properties):
        getattr(properties, name)
    for name in [name for name in dir(type(cuda)) if name.startswith("cuda")]:
        found, function = getattr(type(cuda), name), getattr(real, name)
        if inspect.isfunction(found):
            setattr(cuda, name, _checked_function(name, real, function, found.__get__(cuda)))


def _checked_function(name: str, library: Any, real: Any, fake: Callable[..., Any]) -> Callable[..., Any]:
    spec = create_autospec(real)
    kinds = {"cudaMemcpyAsync": (3, "cudaMemcpyKind"), "cudaStreamBeginCapture": (1, "cudaStreamCaptureMode")}

    def called(*arguments: Any) -> Any:
        USED.add(name)
        spec(*arguments)
        if name in kinds:
            position, kind = kinds[name]
            assert isinstance(arguments[position], getattr(library, kind))
        return fake(*arguments)

    return called


def main(folder: Path) -> None:
    import numpy as np
    import pytest
    from cuda.bindings import runtime

    from tests.runtime.fake_cuda import FakeError
    from tests.runtime.fake_gpu import fake_gpu
    from tks_edge_runtime.backends import open_engine
    from tks_edge_runtime.engine_build import BuildOptions, build_engine
    from tks_edge_runtime.errors import ArtifactError, MissingError, TksEdgeError
    from tks_edge_runtime.session import load

    api = real_api()
    trt = checked_tensorrt(api)
    with fake_gpu(pytest.MonkeyPatch(), folder / f"cache-{api.__version__}", trt) as machine:
        checked_cuda(machine.cuda, runtime)
        for path in sorted(folder.glob("*.onnx")):
            for low_memory in (False, True):
                build_engine(path, BuildOptions(low_memory=low_memory), on_progress=lambda what, done: None)
            for recorded in (False, True):
                with load(path, "tensorrt", cuda_graph=recorded) as session:
                    assert session.self_test().passed
                    session.evaluate()
            engine = open_engine(path, "tensorrt", profiled=True)
            engine.run({port.name: np.zeros(port.shape, port.dtype) for port in engine.inputs})
            assert all(node.ns > 0 for node in engine.node_times()[0])
            engine.close()
        with pytest.raises(ArtifactError, match="Spike"):
            build_engine(folder / "refused" / "spike.onnx")
        machine.cuda.memory = 50
        with pytest.raises(MissingError, match="cudaMalloc: cudaErrorMemoryAllocation"):
            load(path, "tensorrt")
        machine.cuda.error = FakeError.cudaErrorIllegalAddress
        with pytest.raises(TksEdgeError, match="cudaGetDeviceCount: cudaErrorIllegalAddress"):
            load(path, "tensorrt")
        assert machine.left() == []
    print(json.dumps({"version": trt.__version__, "used": sorted(USED)}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
