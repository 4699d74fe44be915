"""Compact activations: nothing is another, and less is kept."""

from __future__ import annotations

import contextlib
import copy
import gc

import pytest
import torch
from torch import Tensor, nn

from tks_edge_models import Network, create
from tks_edge_models.activations import compact_activations
from tks_edge_models.lif_kernels import select_kernel

Step = tuple[Tensor, list[Tensor | None], dict[str, Tensor]]
NETWORKS = ("tiny", "sew_resnet18", "resnet19", "vggsnn")


def network(name: str, size: int = 16) -> Network:
    torch.manual_seed(0)
    built = create(name, num_classes=10, image_size=size)
    select_kernel(built, "torch", "cpu")
    return built


def step(net: Network, pixels: Tensor, *, compact: bool, half: bool = False) -> Step:
    """Logits, gradients and buffers of one training step at T = 3."""
    net = copy.deepcopy(net)
    with contextlib.ExitStack() as stack:
        if compact:
            stack.enter_context(compact_activations(net))
        stack.enter_context(torch.autocast("cpu", torch.bfloat16, enabled=half))
        logits = net(pixels, 3)
    logits.logsumexp(-1).sum().backward()
    return logits.detach(), [p.grad for p in net.parameters()], dict(net.named_buffers())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("frozen", [False, True], ids=["training", "norms frozen"])
def test_results_are_the_same_to_the_bit(name: str, frozen: bool) -> None:
    size = 48 if name == "vggsnn" else 16
    net = network(name, size)
    for module in net.modules():
        if frozen and isinstance(module, nn.BatchNorm2d):
            module.eval()
    pixels = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    assert_same(*(step(net, pixels, compact=compact) for compact in (False, True)))


def test_results_are_the_same_in_mixed_precision_and_channels_last() -> None:
    net = network("sew_resnet18").to(memory_format=torch.channels_last)
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert_same(*(step(net, pixels, compact=compact, half=True) for compact in (False, True)))


def assert_same(plain: Step, compact: Step) -> None:
    assert torch.equal(plain[0], compact[0])
    for wanted, got in zip(plain[1], compact[1], strict=True):
        assert wanted is not None
        assert got is not None
        assert torch.equal(wanted, got)
    for name, buffer in plain[2].items():
        assert torch.equal(buffer, compact[2][name]), name


def kept(net: Network, pixels: Tensor, *, compact: bool) -> int:
    """Bytes that stay after the forward pass for the backward pass."""

    def alive() -> int:
        gc.collect()
        # A sparse tensor that another test left behind has no storage to ask for.
        found = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
        tensors = [thing for thing in found if thing.layout == torch.strided]
        return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())

    before = alive()
    # Autograd's own references are not seen from Python; those that pass through hooks are.
    visible = torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t)
    with compact_activations(net) if compact else visible:
        logits = net(pixels, 8)
    bytes_kept = alive() - before
    logits.sum().backward()
    return bytes_kept


def test_less_than_half_is_kept() -> None:
    pixels = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
    plain, compact = (kept(network("tiny"), pixels, compact=compact) for compact in (False, True))
    assert compact < 0.5 * plain


def test_what_is_not_a_small_integer_is_kept_as_it_is() -> None:
    linear = nn.Linear(64, 64)
    # Integers at the front, so that a look at the first elements alone would be fooled; 256 and -1 are no bytes.
    for last in (0.5, 256.0, -1.0, float("nan"), float("inf")):
        x = torch.ones(100, 64)
        x[-1, -1] = last
        grads = []
        for compact in (False, True):
            linear.zero_grad()
            mine = (x * 1.0).requires_grad_()
            with compact_activations(linear) if compact else contextlib.nullcontext():
                y = linear(mine * torch.ones(()))
            y.sum().backward()
            assert linear.weight.grad is not None
            grads.append(linear.weight.grad.clone())
        assert torch.equal(grads[0].nan_to_num(7.0, 8.0), grads[1].nan_to_num(7.0, 8.0))


def test_memory_of_a_tensor_that_is_gone_is_not_taken_for_its() -> None:
    """Storages are given to other tensors once they are free; many steps in one block would mix them up."""
    net = network("tiny")
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=generator) for _ in range(6)]
    gradients = []
    for compact in (False, True):
        mine = copy.deepcopy(net)
        with compact_activations(mine) if compact else contextlib.nullcontext():
            for pixels in batches:
                mine(pixels, 3).logsumexp(-1).sum().backward()
        gradients.append([p.grad for p in mine.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_no_hook_stays_behind() -> None:
    net = network("tiny")
    with contextlib.suppress(RuntimeError), compact_activations(net):
        raise RuntimeError
    assert not any(module._forward_hooks for module in net.modules())
