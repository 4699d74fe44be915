"""The LIF kernels against the loop over `step`: the same spikes to the bit, the same gradients to rounding."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.models.lif_cases import CASES, CLOSE, check, on_the_threshold, reference
from tks_edge_export.channel_lif import ChannelLIF
from tks_edge_models import LIF, LIFParameters, ModelError, create, lif_compiled
from tks_edge_models.lif_kernels import Kernel, choose_kernel, select_kernel
from tks_edge_models.surrogate import SURROGATES

ROOT = Path(__file__).resolve().parents[2]
KEPT, RECOMPUTED, COMPILED = Kernel("torch", recompute=False), Kernel("torch"), Kernel("compiled")
DTYPES = (torch.float64, torch.float32, torch.bfloat16)

parameters = st.builds(
    LIFParameters,
    tau=st.one_of(st.just(1.0), st.floats(1.0, 16.0)),
    v_threshold=st.floats(0.125, 2.0),
    v_reset=st.one_of(st.none(), st.just(0.0), st.floats(-1.0, 0.0)),
    decay_input=st.booleans(),
    detach_reset=st.booleans(),
    surrogate=st.sampled_from(sorted(SURROGATES)),
)


@settings(deadline=None, max_examples=150)
@given(
    params=parameters,
    shape=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 40)),
    dtype=st.sampled_from(DTYPES),
    recompute=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_torch_kernel_equals_the_loop(
    params: LIFParameters, shape: tuple[int, ...], dtype: torch.dtype, recompute: bool, seed: int
) -> None:
    x = on_the_threshold(params, shape, dtype, seed)
    if x.numel():
        check(Kernel("torch", recompute), params, x)
    else:
        assert Kernel("torch", recompute)(x.requires_grad_(), params).shape == x.shape


@pytest.mark.parametrize(
    ("case", "dtype", "timesteps"),
    [
        ("defaults", torch.float32, 8),
        ("hard, not detached, reset below zero", torch.float64, 3),
        ("soft, not detached", torch.bfloat16, 2),
        ("soft, input not decayed", torch.float32, 1),
    ],
)
def test_compiled_kernel_equals_the_loop_on_the_threshold(case: str, dtype: torch.dtype, timesteps: int) -> None:
    params = CASES[case]
    check(COMPILED, params, on_the_threshold(params, (timesteps, 2, 5000), dtype))
    # Another size is the same code: nothing is compiled again, whatever the limit.
    for neurons in (17, 64, 1000, 4097, 3, 33, 129, 513, 2049, 31):
        check(COMPILED, params, on_the_threshold(params, (timesteps, 1, neurons), dtype))


def test_such_currents_would_show_a_contracted_product_and_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    params = LIFParameters(tau=3.0, v_reset=-0.25)
    x = on_the_threshold(params, (4, 1, 20_000), torch.float32)
    options = lif_compiled.exact_options()
    allowed = "fast" if options["cpp.enable_floating_point_contract_flag"] == "off" else True
    monkeypatch.setattr(
        lif_compiled, "exact_options", lambda: {**options, "cpp.enable_floating_point_contract_flag": allowed}
    )
    fired = COMPILED(x.clone().requires_grad_(), params)
    lif_compiled._compiled.cache_clear()
    assert not torch.equal(fired, LIF(params)(x)), (
        "this machine has no fused multiply-add, or the test has lost its edge"
    )


def test_triton_kernel_equals_the_loop_under_its_interpreter() -> None:
    pytest.importorskip("triton", reason="PyTorch's wheels bring Triton on Linux alone")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / folder) for folder in (".", "export", "runtime", "models"))
    command = [sys.executable, "-m", "tests.models.lif_cases"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(len(CASES) * len(CLOSE))]


@pytest.mark.parametrize("kernel", [KEPT, RECOMPUTED, COMPILED], ids=["kept", "recomputed", "compiled"])
def test_layout_of_the_input_is_kept(kernel: Kernel) -> None:
    params = CASES["defaults"]
    dense = on_the_threshold(params, (8, 2, 6, 5, 4), torch.float32)
    channels_last = dense.flatten(0, 1).to(memory_format=torch.channels_last)
    channels_last = channels_last.view(8, 2, *channels_last.shape[1:])
    with_gaps = torch.stack([dense, dense], dim=-1)[..., 0]
    grad = torch.randn(dense.shape)
    spikes, gradient = reference(dense, params, grad)
    for x in (channels_last, with_gaps):
        mine = x.detach().requires_grad_()
        fired = kernel(mine, params)
        assert torch.equal(fired, spikes)
        (got,) = torch.autograd.grad(fired, mine, grad)
        assert torch.allclose(got, gradient, rtol=0, atol=1e-6)
    fired = kernel(channels_last.requires_grad_(), params)
    assert fired.stride() == channels_last.stride()


@pytest.mark.parametrize("kernel", [KEPT, RECOMPUTED, COMPILED], ids=["kept", "recomputed", "compiled"])
def test_held_current_is_kept_once(kernel: Kernel) -> None:
    x = (torch.rand(1, 2, 3) * 2).requires_grad_()
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        kernel(x.expand(8, 2, 3), CASES["defaults"])
    assert [t.untyped_storage().data_ptr() for t in saved] == [x.untyped_storage().data_ptr()]


def test_leaf_that_is_expanded_itself_has_a_gradient_at_every_step() -> None:
    params = CASES["hard, not detached, reset below zero"]
    leaf = torch.rand(1, 2, 3, dtype=torch.float64).expand(4, 2, 3).detach().requires_grad_()
    grad = torch.rand(4, 2, 3, dtype=torch.float64)
    (got,) = torch.autograd.grad(RECOMPUTED(leaf, params), leaf, grad)
    copied = leaf.detach().contiguous().requires_grad_()
    (wanted,) = torch.autograd.grad(LIF(params)(copied), copied, grad)
    assert torch.allclose(got, wanted, rtol=0, atol=1e-12)


def test_nothing_is_kept_of_an_input_without_gradient() -> None:
    layer, saved = LIF(), []
    select_kernel(layer, "torch", "cpu")
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t), lambda t: t):
        spikes = layer(torch.rand(4, 2, 3))
    assert not saved
    assert not spikes.requires_grad


@pytest.mark.parametrize("kernel", ["torch", "compiled"])
def test_network_trains_alike(kernel: str) -> None:
    torch.manual_seed(0)
    network = create("tiny", num_classes=10, image_size=8)
    fused = copy.deepcopy(network)
    assert select_kernel(fused, kernel, "cpu").name == kernel
    pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    logits = [net(pixels, 8) for net in (network, fused)]
    assert torch.equal(*logits)
    for out in logits:
        out.logsumexp(-1).sum().backward()
    for ours, wanted in zip(fused.parameters(), network.parameters(), strict=True):
        assert ours.grad is not None
        assert wanted.grad is not None
        assert torch.allclose(ours.grad, wanted.grad, rtol=1e-4, atol=1e-5 * float(wanted.grad.abs().max()))


def test_evaluation_and_state_know_nothing_of_a_kernel() -> None:
    network = create("tiny", num_classes=10, image_size=8).eval()
    fused = copy.deepcopy(network)
    select_kernel(fused, "torch", "cpu")
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(network(pixels, 4), fused(pixels, 4))
    assert fused.state_dict().keys() == network.state_dict().keys()
    assert str(fused) == str(network)
    copy.deepcopy(fused)


def test_layer_with_equations_of_its_own_keeps_them() -> None:
    other = ChannelLIF(LIFParameters(), torch.ones(1, 3, 1, 1).numpy())
    select_kernel(nn.Sequential(other), "torch", "cpu")
    assert other.kernel is None


def test_auto_says_what_it_took_and_why() -> None:
    assert choose_kernel("auto", "cpu").name == "compiled"
    choice = choose_kernel("auto", "cuda")
    assert (choice.name, "never measured on cuda" in choice.reason) == ("torch", True)


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("compild", "cpu", "unknown LIF kernel 'compild'. Did you mean 'compiled'?"),
        ("triton", "cpu", "it is for cuda, not for cpu"),
        ("compiled", "mps", "it is for cpu and cuda, not for mps"),
    ],
)
def test_kernel_that_cannot_be_is_refused(name: str, device: str, message: str) -> None:
    pytest.importorskip("triton")
    with pytest.raises(ModelError, match=message.replace("?", r"\?")):
        choose_kernel(name, device)


def test_missing_compiler_is_named(tmp_path: Path) -> None:
    program = (
        "from tks_edge_models.lif_kernels import choose_kernel\n"
        "print(choose_kernel('auto', 'cpu'))\n"
        "choose_kernel('compiled', 'cpu')\n"
    )
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(ROOT / "models")
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "name='torch'" in ran.stdout
    assert "apt-get install g++ python3-dev" in ran.stdout
    assert "ModelError: the LIF kernel 'compiled' cannot be used" in ran.stderr
    assert "apt-get install g++ python3-dev" in ran.stderr


def test_integers_are_refused() -> None:
    with pytest.raises(ModelError, match="currents"):
        RECOMPUTED(torch.ones(2, 3, dtype=torch.int64), LIFParameters())


def test_second_derivative_is_refused_not_wrong() -> None:
    x = torch.rand(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(RECOMPUTED(x, LIFParameters()).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())
