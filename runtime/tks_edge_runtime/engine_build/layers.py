"""In which precision an engine's layers compute, and whether that is what its graph asks for.

The graph's multiplications are asked for their types once TensorRT has read it: int8 where the input is dequantized
from 8 bits, otherwise the input's own type. The engine's inspector says which of its layers took them up, and with what
types: an engine that quietly computes them in float32 is as wrong as one with other results.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tks_edge_runtime.errors import CheckError
from tks_edge_runtime.manifest import Manifest

_MULTIPLICATIONS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_RESHAPES = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")
_PRECISIONS = {"INT8": "int8", "FP8": "fp8", "HALF": "fp16", "BF16": "bf16", "FLOAT": "fp32"}
_WORDS = {
    "int8": "int8",
    "fp8": "fp8",
    "float8": "fp8",
    "half": "fp16",
    "fp16": "fp16",
    "float16": "fp16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "float": "fp32",
    "fp32": "fp32",
    "float32": "fp32",
}
"""How TensorRT writes types: "Half", or "Channel major FP16 format where channel % 8 == 0"."""
_NARROWEST_FIRST = tuple(dict.fromkeys(_WORDS.values()))
_REDUCED = ("int8", "fp16")
_COPIES = ("reformat", "noop", "constant")
_OTHER = "other"


@dataclass(frozen=True)
class EngineLayer:
    """A layer of an engine: its text, which names what it was made of, and the precisions of what it reads."""

    text: str
    precisions: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether a layer of the graph was taken up by it."""
        return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", self.text) is not None


def asked_for(network: Any) -> dict[str, str]:
    """The precision of each multiplication of a parsed network, by the name of its node in the ONNX file."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    found = {}
    for layer in layers:
        if layer.type.name in _MULTIPLICATIONS:
            precision = _PRECISIONS.get(_read_type(layer.get_input(0), makers))
            if precision is not None:
                found[str(layer.name)] = precision
    return found


def _read_type(tensor: Any, makers: Mapping[str, Any]) -> str:
    """The type in which a tensor reaches a multiplication: of its 8 bits where it was dequantized from them."""
    kind = str(tensor.dtype.name)
    maker = makers.get(tensor.name)
    while maker is not None and maker.type.name in _RESHAPES:
        tensor = maker.get_input(0)
        maker = makers.get(tensor.name)
    if maker is not None and maker.type.name == "DEQUANTIZE":
        return str(maker.get_input(0).dtype.name)
    return kind


def engine_layers(text: str) -> list[EngineLayer]:
    """Read what an engine's inspector says, in JSON: its layers without those that only copy.

    Empty where it gives no more than their names, or what cannot be read.
    """
    try:
        layers = list(json.loads(text)["Layers"])
    except (ValueError, KeyError, TypeError):
        return []
    return [_layer(layer) for layer in layers if isinstance(layer, dict) and not _only_copies(layer)]


def _only_copies(layer: Mapping[str, Any]) -> bool:
    return str(layer.get("LayerType", "")).lower().startswith(_COPIES)


def _layer(layer: Mapping[str, Any]) -> EngineLayer:
    types = [str(port.get("Format/Datatype", "")) for port in layer.get("Inputs", []) if isinstance(port, dict)]
    weights = layer.get("Weights")
    if isinstance(weights, dict):
        types.append(str(weights.get("Type", "")))
    words = {word for kind in types for word in re.findall(r"[a-z]+\d*", kind.lower())}
    precisions = frozenset(_WORDS[word] for word in words & _WORDS.keys())
    return EngineLayer(f"{layer.get('Name', '')} {layer.get('Metadata', '')}", precisions)


def count(layers: Sequence[EngineLayer]) -> dict[str, int]:
    """How many layers compute in each precision, the narrowest that a layer reads; "other" are integers and bools."""
    counts = Counter(
        next((precision for precision in _NARROWEST_FIRST if precision in layer.precisions), _OTHER) for layer in layers
    )
    return {precision: counts[precision] for precision in (*_NARROWEST_FIRST, _OTHER) if counts[precision]}


def check_layers(
    manifest: Manifest | None, asked: Mapping[str, str], layers: Sequence[EngineLayer], name: str
) -> tuple[str, ...]:
    """Refuse an engine whose multiplications do not have the precision that its artifact promises.

    Args:
        manifest: of the artifact; None for a file without one, of which only the graph is known.
        asked: what the graph asks for; see `asked_for`.
        layers: those of the engine.
        name: what errors call it.

    Returns:
        what could not be looked at, in sentences.

    Raises:
        CheckError: a multiplication lost its precision, or the graph does not have the one of its manifest.
    """
    if manifest is not None:
        _check_graph(manifest.precision.name, asked, name)
    if not layers:
        return ("TensorRT does not say in which precision the layers compute: not checked.",)
    wrong: list[tuple[str, str, frozenset[str]]] = []
    unknown: list[str] = []
    for node, wanted in asked.items():
        holders = [layer for layer in layers if layer.holds(node)]
        read = frozenset[str]().union(*(layer.precisions for layer in holders))
        if wanted in _REDUCED and not read:
            unknown.append(node)
        elif wanted in _REDUCED and wanted not in read:
            wrong.append((node, wanted, read))
    if wrong:
        texts = [f"{node} ({'/'.join(sorted(read))} in place of {wanted})" for node, wanted, read in wrong]
        raise CheckError(
            f"TensorRT built {name} with {len(wrong)} of {len(asked)} layers in another precision than asked for: "
            f"{_some(texts)}. Export these layers in float (--keep-float), or in another --precision."
        )
    _check_presence(asked, layers, name)
    if unknown:
        return (f"TensorRT does not say what became of {_some(unknown)}: not checked.",)
    return ()


def _check_graph(promised: str, asked: Mapping[str, str], name: str) -> None:
    """Compare the graph, as TensorRT read it, with its manifest."""
    found = set(asked.values())
    if promised in _REDUCED and promised not in found:
        kinds = ", ".join(sorted(found)) or "none"
        raise CheckError(f"{name} promises {promised}, and its graph multiplies in {kinds} alone. Export it again.")
    if promised == "fp32" and found & set(_REDUCED):
        nodes = [node for node, precision in asked.items() if precision in _REDUCED]
        raise CheckError(f"{name} promises fp32, and its graph multiplies in less: {_some(nodes)}. Export it again.")


def _check_presence(asked: Mapping[str, str], layers: Sequence[EngineLayer], name: str) -> None:
    """Where layers cannot be told by their names, at least the precision must be there."""
    there = frozenset[str]().union(*(layer.precisions for layer in layers))
    lost = sorted(set(asked.values()) & set(_REDUCED) - there)
    if lost:
        raise CheckError(
            f"TensorRT built {name} without a single layer in {', '.join(lost)}, which its graph asks for. Export it "
            "in another --precision."
        )


def _some(texts: Iterable[str], at_most: int = 5) -> str:
    """The first few, and how many there are besides."""
    shown = list(texts)
    rest = f" and {len(shown) - at_most} more" if len(shown) > at_most else ""
    return ", ".join(shown[:at_most]) + rest
