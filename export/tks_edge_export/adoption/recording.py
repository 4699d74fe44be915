"""One run of a foreign module, written down: which layers and functions computed what from what.

The module really runs, on a real input, so its Python code may do as it likes: loop over timesteps, count, reshape.
What is written down are the calls of layers, which are taken as they are, and of PyTorch's functions between them. A
decision that depends on the values of a tensor is refused, since the record shows one of its outcomes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.probe import named, raised_in, reason, tensors_in

_READS_VALUES = frozenset(
    {"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy", "nonzero", "__array__", "equal"}
)
_TELLS_ABOUT = frozenset({"size", "dim", "numel", "stride", "is_floating_point", "is_contiguous", "get_device", "type"})
"""Functions that give no tensor and read no value of one."""


@dataclass(eq=False)
class Value:
    """A tensor of the run.

    Attributes:
        shape: its shape.
        maker: the call that gave it; None for an input or a constant.
        constant: its numbers, where they do not depend on the input.
        position: which of the call's tensors it is, or which input.
        tensor: its numbers in this run; a later write into the tensor does not change them.
    """

    shape: tuple[int, ...]
    maker: Call | None = None
    constant: Tensor | None = None
    position: int = 0
    tensor: Tensor = field(init=False, repr=False)


@dataclass(eq=False)
class Call:
    """A call of a layer or a function.

    Attributes:
        target: the layer's module path, or the function's name.
        module: the layer; None of a function.
        arguments: positional ones, tensors as `Value`.
        options: named ones, likewise.
        inside: the path of the module that made the call.
        outputs: the tensors that it gave, in order.
    """

    target: str
    module: nn.Module | None
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inside: str
    outputs: list[Value] = field(default_factory=list)

    @property
    def inputs(self) -> list[Value]:
        """The values that go in, in order, constants included."""
        return list(_values((self.arguments, self.options)))


@dataclass(frozen=True)
class Recording:
    """A run: its inputs, its calls in order, and the tensors of what it returned, in order."""

    inputs: list[Value]
    calls: list[Call]
    outputs: list[Value]
    network: nn.Module


def record(module: nn.Module, inputs: Sequence[Tensor], is_layer: Callable[[str, nn.Module], bool]) -> Recording:
    """Run a copy of `module` on `inputs` and write down what it does.

    Args:
        module: it is not changed.
        inputs: what its forward takes.
        is_layer: whether a module, by path and itself, is taken as it is rather than looked into.

    Raises:
        AdoptionError: it fails, or decides by the values of a tensor.
    """
    network = copied(module)
    recorder = _Recorder(network)
    with recorder.watching(is_layer), torch.no_grad(), recorder:
        values = [recorder.given(tensor.clone(), index) for index, tensor in enumerate(inputs)]
        try:
            output = network(*recorder.inputs)
        except AdoptionError:
            raise
        except Exception as error:
            where = named(raised_in(error, network), network.get_submodule(raised_in(error, network)))
            raise AdoptionError(f"{where} fails on the example input: {reason(error)}") from error
    outputs = [recorder.value(tensor) for tensor in tensors_in(output)]
    return Recording(values, recorder.calls, outputs, network)


def copied(module: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode.

    Raises:
        AdoptionError: it cannot be copied.
    """
    try:
        return copy.deepcopy(module).cpu().eval()
    except Exception as error:
        raise AdoptionError(
            f"the network cannot be copied: {reason(error)}. Reset its states first, so that none hangs on a gradient."
        ) from error


class _Recorder(TorchFunctionMode):
    """Sees every call of PyTorch that is made outside of layers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.inputs: list[Tensor] = []
        self._known: dict[int, Value] = {}
        self._kept: list[Tensor] = []  # An identity must not be given to another tensor.
        self._network = network
        self._running: list[str] = [""]
        self._in_layer = False

    def given(self, tensor: Tensor, index: int) -> Value:
        self.inputs.append(tensor)
        return self._learn(tensor, Value(tuple(tensor.shape), position=index))

    def _learn(self, tensor: Tensor, value: Value) -> Value:
        self._known[id(tensor)] = value
        self._kept.append(tensor)
        value.tensor = tensor
        return value

    def value(self, tensor: Tensor) -> Value:
        """What a tensor is; one that no call gave does not depend on the input."""
        if id(tensor) not in self._known:
            with torch._C.DisableTorchFunction():
                constant = tensor.detach().clone()
            self._learn(tensor, Value(tuple(tensor.shape), constant=constant))
        return self._known[id(tensor)]

    def __torch_function__(
        self, function: Any, _types: object, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        name = getattr(function, "__name__", str(function))
        if name == "__get__":
            name = str(getattr(function.__self__, "__name__", name))
        depends = not self._in_layer and self._depends(arguments, options)
        if depends and name in _READS_VALUES:
            raise AdoptionError(
                f"{self._where()} reads the values of a tensor ({name}), and what it does may depend on them; a graph "
                "does the same for every input. Use torch.where."
            )
        if depends and name == "__setitem__":
            raise AdoptionError(
                f"{self._where()} writes into a part of a tensor (x[...] = ...), which has no operator. Collect the "
                "parts in a list, and use torch.stack or torch.cat."
            )
        if depends and _writes(name):
            written = self.value(arguments[0])
            written.tensor = written.tensor.clone()
        result = function(*arguments, **options)
        if depends and name not in _TELLS_ABOUT and tensors_in(result):
            self._add(name, None, arguments, options, result)
        return result

    def _depends(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        found = (self._known.get(id(tensor)) for tensor in tensors_in((arguments, options)))
        return any(value is not None and value.constant is None for value in found)

    def _where(self) -> str:
        path = self._running[-1]
        return named(path, self._network.get_submodule(path))

    def _add(
        self, target: str, module: nn.Module | None, arguments: tuple[Any, ...], options: dict[str, Any], result: Any
    ) -> None:
        as_values = _mapped(arguments, self.value), _mapped(options, self.value)
        call = Call(target, module, *as_values, inside=self._running[-1])
        for tensor in tensors_in(result):
            # What writes in place gives the same tensor, which is another value from then on.
            call.outputs.append(self._learn(tensor, Value(tuple(tensor.shape), call, position=len(call.outputs))))
        self.calls.append(call)

    @contextmanager
    def watching(self, is_layer: Callable[[str, nn.Module], bool]) -> Iterator[None]:
        """Let the network's modules tell when they run."""
        for path, module in self._network.named_modules():
            _refuse_hooks(path, module)
        layers: list[str] = []
        for path, module in self._network.named_modules():
            if any(path.startswith(f"{layer}.") for layer in layers):
                continue
            forward = module.forward
            if is_layer(path, module):
                layers.append(path)
                module.forward = self._layer(path, module, forward)
            else:
                module.forward = self._container(path, forward)
        yield

    def _container(self, path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            self._running.append(path)
            try:
                return forward(*arguments, **options)
            finally:
                self._running.pop()

        return run

    def _layer(self, path: str, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if self._in_layer:
                return forward(*arguments, **options)
            # Taken down before it runs: a layer may write to what it gets.
            depends = self._depends(arguments, options)
            self._in_layer = True
            try:
                result = forward(*arguments, **options)
            finally:
                self._in_layer = False
            if depends:
                self._add(path, module, arguments, options, result)
            return result

        return run


def _writes(name: str) -> bool:
    """Whether a function of this name changes its first operand."""
    return name.startswith("__i") if name.endswith("__") else name.endswith("_")


def _refuse_hooks(path: str, module: nn.Module) -> None:
    for name in ("_forward_pre_hooks", "_forward_hooks"):
        if getattr(module, name):
            raise AdoptionError(
                f"{named(path, module)} has a hook on its forward, which may change what it computes. Remove it (for a "
                "weight or spectral norm, torch.nn.utils.remove_weight_norm or its like)."
            )


def _values(value: Any) -> Iterator[Value]:
    if isinstance(value, Value):
        yield value
    elif isinstance(value, dict):
        yield from (each for inner in value.values() for each in _values(inner))
    elif isinstance(value, (tuple, list)):
        yield from (each for inner in value for each in _values(inner))


def _mapped(value: Any, make: Callable[[Tensor], Value]) -> Any:
    """The same structure with a `Value` for each tensor; named tuples become tuples."""
    if isinstance(value, Tensor):
        return make(value)
    if isinstance(value, dict):
        return {key: _mapped(each, make) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        mapped = [_mapped(each, make) for each in value]
        return tuple(mapped) if isinstance(value, tuple) else mapped
    return value
