"""The stateless layers of PyTorch, and of libraries that derive theirs from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tks_edge_export.adoption.layer import ONE_STEP, Layer, refuse

package = "torch"

_CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_NORM = ("num_features", "eps")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")
_AVERAGE = (*_POOL, "count_include_pad")
_MAXIMUM = (*_POOL, "dilation")

_KINDS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.Conv1d: ("conv1d", _CONVOLUTION),
    nn.Conv2d: ("conv2d", _CONVOLUTION),
    nn.Conv3d: ("conv3d", _CONVOLUTION),
    nn.ConvTranspose2d: ("conv_transpose2d", (*_CONVOLUTION, "output_padding")),
    nn.Linear: ("linear", ("in_features", "out_features")),
    nn.BatchNorm1d: ("batch_norm1d", _NORM),
    nn.BatchNorm2d: ("batch_norm2d", _NORM),
    nn.GroupNorm: ("group_norm", ("num_groups", "num_channels", "eps", "affine")),
    nn.LayerNorm: ("layer_norm", ("normalized_shape", "eps", "elementwise_affine")),
    nn.AvgPool1d: ("avg_pool1d", _AVERAGE),
    nn.AvgPool2d: ("avg_pool2d", (*_AVERAGE, "divisor_override")),
    nn.MaxPool1d: ("max_pool1d", _MAXIMUM),
    nn.MaxPool2d: ("max_pool2d", _MAXIMUM),
    nn.AdaptiveAvgPool2d: ("adaptive_avg_pool2d", ("output_size",)),
    nn.Upsample: ("upsample", ("size", "scale_factor", "mode", "align_corners")),
    nn.ReLU: ("relu", ()),
    nn.Identity: ("identity", ()),
    nn.Flatten: ("flatten", ("start_dim", "end_dim")),
}
_LEFT_OUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
"""What does nothing in evaluation mode."""
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_QUANTIZED = ("torch.ao.", "torch.nn.quant", "torch.nn.intrinsic", "torch.nn.qat")


def layer(path: str, module: nn.Module) -> Layer | None:
    """Translate one of PyTorch's own layers; None for a container.

    Raises:
        AdoptionError: there is no operator for it, or its weights are not float32.
    """
    if type(module) in _CONTAINERS or type(module) is nn.Module:
        return None
    return derived(path, module, exactly=type(module))


def derived(path: str, module: nn.Module, *, exactly: type | None = None, axes: str = ONE_STEP) -> Layer:
    """Translate a layer that computes what the layer of PyTorch does that it derives from.

    Args:
        path: of the module.
        module: the layer.
        exactly: the class to look up; the first of its bases that is known when not given.
        axes: the leading axes of what it takes.

    Raises:
        AdoptionError: there is no operator for it, or its weights are not float32.
    """
    if isinstance(module, _LEFT_OUT):
        return Layer("identity", axes=axes)
    kinds = [exactly] if exactly is not None else list(type(module).__mro__)
    kind = next((kind for kind in kinds if kind in _KINDS), None)
    if kind is None:
        raise refuse(path, module, _unknown(module))
    operator, names = _KINDS[kind]
    options = {name: _plain(getattr(module, name)) for name in names}
    weights = _weights(path, module)
    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
        options["bias"] = "bias" in weights
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if module.running_mean is None:
            raise refuse(path, module, "it has no running statistics, so it mixes the samples of a batch")
        options["affine"] = "weight" in weights
    if isinstance(module, (nn.MaxPool1d, nn.MaxPool2d)) and module.return_indices:
        raise refuse(path, module, "return_indices is set")
    return Layer(operator, options, weights, axes)


def _unknown(module: nn.Module) -> str:
    name = type(module).__module__
    if name.startswith(_QUANTIZED):
        return "it is quantized; take the network in float32, and let `export --precision int8` quantize it"
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return "it is recurrent, a state that only neurons have in ours"
    return f"there is no operator for {type(module).__name__}; see tks_edge_models.graph_operators for those there are"


def _weights(path: str, module: nn.Module) -> dict[str, Tensor]:
    """The weights and statistics that the layer really computes with, those of a parametrization included."""
    parametrized = dict(getattr(module, "parametrizations", {}))
    names = [name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
    found = {}
    for name in (*names, *parametrized):
        value = getattr(module, name).detach().cpu()
        if value.is_floating_point() and value.dtype != torch.float32:
            raise refuse(path, module, f"its {name} is {value.dtype}; call float() on the network first")
        found[name] = value
    return found


def _plain(value: Any) -> Any:
    """An option as JSON can hold it."""
    return [_plain(each) for each in value] if isinstance(value, (tuple, list)) else value
