"""Every network: shapes, its twin, time, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tks_edge_models import LIF, MODELS, LIFParameters, ModelError, Network, create
from tks_edge_models.layers import ThresholdBatchNorm2d
from tks_edge_models.transformer import SelfAttention, TokenAttention, transformer_neurons

SIZE = dict.fromkeys(MODELS, 16)


def images(network: Network, batch: int = 2) -> Tensor:
    size, channels = network.spec["image_size"], network.spec["in_channels"]
    return torch.randint(0, 256, (batch, channels, size, size), dtype=torch.uint8)


@pytest.fixture(params=MODELS)
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return create(request.param, num_classes=5, image_size=SIZE[request.param]).eval()


def test_logits_come_one_a_timestep(network: Network) -> None:
    with torch.inference_mode():
        assert network(images(network), timesteps=3).shape == (3, 2, 5)
        assert network(images(network)).shape == (1, 2, 5)


def test_the_twin_has_the_same_weights_and_runs_one_pass(network: Network) -> None:
    twin = create(network.spec["name"], num_classes=5, image_size=network.spec["image_size"], neuron="relu").eval()
    twin.load_state_dict(network.state_dict())
    assert not any(isinstance(layer, LIF) for layer in twin.modules())
    assert sum(isinstance(layer, LIF) for layer in network.modules()) == sum(
        isinstance(layer, nn.ReLU) for layer in twin.modules()
    )
    with torch.inference_mode():
        assert twin(images(twin)).shape == (1, 2, 5)
    with pytest.raises(ModelError, match="one pass"):
        twin(images(twin), timesteps=2)


def test_the_past_does_not_know_the_future(network: Network) -> None:
    x = images(network)
    with torch.inference_mode():
        torch.testing.assert_close(network(x, timesteps=4)[:2], network(x, timesteps=2), rtol=0, atol=1e-6)


def test_a_still_image_is_the_same_frame_at_every_step_and_its_stem_runs_once(network: Network) -> None:
    x = images(network)
    seen: list[int] = []
    convolution = next(layer for layer in network.stem.modules() if isinstance(layer, nn.Conv2d))
    convolution.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[0]))
    with torch.inference_mode():
        still = network(x, timesteps=3)
        moving = network(x.unsqueeze(0).repeat(3, 1, 1, 1, 1))
    assert seen == [2, 6]
    torch.testing.assert_close(still, moving, rtol=0, atol=1e-6)


def test_a_network_is_rebuilt_from_its_spec(network: Network) -> None:
    spec = json.loads(json.dumps(network.spec))
    again = create(**{**spec, "lif": LIFParameters(**spec["lif"])}).eval()
    again.load_state_dict(network.state_dict())
    x = images(network)
    with torch.inference_mode():
        assert torch.equal(network(x, timesteps=2), again(x, timesteps=2))


def test_pixels_are_the_same_as_bytes_and_as_floats(network: Network) -> None:
    x = images(network)
    with torch.inference_mode():
        assert torch.equal(network(x), network(x.float()))


def test_normalisation_is_torchvisions() -> None:
    network = create("tiny", num_classes=2, image_size=8, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    torch.testing.assert_close(network.normalize(pixels), (pixels / 255 - mean) / std)


def test_published_shapes() -> None:
    resnet = create("resnet19", num_classes=10)
    widths = [
        layer.out_channels for layer in resnet.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert widths == [128] * 7 + [256] * 6 + [512] * 4
    assert sum(isinstance(layer, nn.Linear) for layer in resnet.modules()) == 2  # 17 convolutions and 2 linear: 19
    alphas = {n.weight[0].item() for n in resnet.modules() if isinstance(n, ThresholdBatchNorm2d)}
    assert sorted(alphas) == pytest.approx([0.5 * 0.5**0.5, 0.5])
    vgg = create("vggsnn", num_classes=10, image_size=48)
    assert [m.out_channels for m in vgg.modules() if isinstance(m, nn.Conv2d)] == [
        64,
        128,
        256,
        256,
        512,
        512,
        512,
        512,
    ]
    assert [m.in_features for m in vgg.modules() if isinstance(m, nn.Linear)] == [512 * 3 * 3]


@pytest.mark.parametrize(
    ("name", "classes", "size", "millions"),
    [
        ("sew_resnet18", 1000, 224, "11.69"),  # Fang et al., NeurIPS 2021: those of the ResNets of the same depth
        ("sew_resnet34", 1000, 224, "21.80"),
        ("sew_resnet50", 1000, 224, "25.56"),
        ("ms_resnet18", 1000, 224, "11.69"),  # Hu et al., TNNLS 2024, table of ImageNet
        ("ms_resnet34", 1000, 224, "21.80"),
        ("spikformer", 10, 32, "9.32"),  # Zhou et al., ICLR 2023, Spikformer-4-384 on CIFAR
        ("qkformer", 100, 32, "6.74"),  # Zhou et al., NeurIPS 2024, HST-4-384 on CIFAR
    ],
)
def test_published_parameter_counts(name: str, classes: int, size: int, millions: str) -> None:
    with torch.device("meta"):
        network = create(name, num_classes=classes, image_size=size)
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == millions


WITHOUT_NORM = "body.10"
"""In resnet19, the neuron behind a linear layer alone: it is silent until the weights are trained."""


def test_every_layer_fires_in_training_and_every_weight_has_a_gradient(network: Network) -> None:
    rates: dict[str, float] = {}

    def recorder(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, spikes: rates.update({path: float(spikes.detach().mean())})

    for path, layer in network.named_modules():
        if isinstance(layer, LIF) and (network.spec["name"], path) != ("resnet19", WITHOUT_NORM):
            layer.register_forward_hook(recorder(path))
    network.train()(images(network), timesteps=2).square().sum().backward()
    assert len(rates) >= 5
    assert [path for path, rate in rates.items() if not 0.01 < rate < 0.99] == []
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_bottleneck_is_four_times_as_wide_as_its_convolution() -> None:
    network = create("sew_resnet50", num_classes=2, image_size=16)
    kernels = [(m.kernel_size[0], m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels[1:5] == [(1, 64), (3, 64), (1, 256), (1, 256)]
    assert kernels[-3:] == [(1, 512), (3, 512), (1, 2048)]


def test_the_shortcut_of_an_ms_resnet_carries_currents() -> None:
    """Its branches end in a norm that starts at 0, so a fresh block passes on exactly what it reads."""
    network = create("ms_resnet18", num_classes=2, image_size=16).eval()
    current = torch.randn(2, 1, 64, 16, 16)
    with torch.inference_mode():
        assert torch.equal(network.body.get_submodule("0")(current), current)
        assert network.body.get_submodule("2")(current).shape == (2, 1, 128, 8, 8)


@pytest.mark.parametrize(("size", "after"), [(16, 16), (224, 56)])
def test_the_first_stage_of_an_ms_resnet_halves_an_imagenet_image_without_pooling(size: int, after: int) -> None:
    network = create("ms_resnet18", num_classes=2, image_size=size).eval()
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in network.modules())
    with torch.inference_mode():
        current = network.stem(torch.zeros(1, 1, 3, size, size))
        assert network.body.get_submodule("0")(current).shape[-1] == after


SPIKES = (2, 1, 384, 2, 4)
"""[T, B, C, H, W]"""


def heads_of(layer: nn.Module, x: Tensor, heads: int) -> Tensor:
    """`[T, B, heads, tokens, C / heads]`, as the papers write it."""
    t, b, c, h, w = x.shape
    made: Tensor = layer(x).reshape(t, b, heads, c // heads, h * w).transpose(-2, -1)
    return made


def test_self_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(transformer_neurons(LIFParameters()), 384, 12, bias=True).train()
    x = (torch.rand(SPIKES) < 0.3).float()
    currents: list[Tensor] = []
    attention.neuron.register_forward_hook(lambda _module, inputs, _output: currents.append(inputs[0]))
    with torch.inference_mode():
        attention(x)
        q, k, v = (heads_of(layer, x, 12) for layer in (attention.query, attention.key, attention.value))
    assert all(0.05 < spikes.mean() < 0.95 for spikes in (q, k, v))
    expected = (q @ k.transpose(-2, -1)) * 0.125 @ v
    assert torch.equal(currents[0], expected.transpose(-2, -1).reshape(SPIKES))  # whole numbers, in any order


def test_token_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    attention = TokenAttention(transformer_neurons(LIFParameters()), 384, 8).train()
    x = (torch.rand(SPIKES) < 0.1).float()
    masked: list[Tensor] = []
    attention.project.register_forward_hook(lambda _module, inputs, _output: masked.append(inputs[0]))
    sums: list[Tensor] = []
    attention.neuron.register_forward_hook(lambda _module, inputs, _output: sums.append(inputs[0]))
    with torch.inference_mode():
        attention(x)
        q, k = (heads_of(layer, x, 8) for layer in (attention.query, attention.key))
        attends = attention.neuron(q.sum(-1, keepdim=True))
    assert torch.equal(sums[0], q.sum(-1).unsqueeze(3))
    assert torch.equal(masked[0], (attends * k).transpose(-2, -1).reshape(SPIKES))


@pytest.mark.parametrize("name", ["spikformer", "qkformer"])
@pytest.mark.parametrize(("v_reset", "half"), [(0.0, 0.5), (None, 0.5), (0.4, 0.7)])
def test_only_attention_has_half_the_threshold(name: str, v_reset: float | None, half: float) -> None:
    network = create(name, num_classes=2, lif=LIFParameters(v_threshold=1.0, v_reset=v_reset))
    attending = {path for path, layer in network.named_modules() if isinstance(layer, SelfAttention | TokenAttention)}
    assert len(attending) == 4
    for path, layer in network.named_modules():
        if isinstance(layer, LIF):
            is_attention = path.endswith(".neuron") and path.removesuffix(".neuron") in attending
            assert layer.params.v_threshold == pytest.approx(half if is_attention else 1.0)


@pytest.mark.parametrize(
    ("name", "size", "tokens"), [("spikformer", 32, 8), ("qkformer", 32, 8), ("qkformer", 160, 10)]
)
def test_tokens_are_patches_of_4_or_of_16_pixels(name: str, size: int, tokens: int) -> None:
    network = create(name, num_classes=2, image_size=size).eval()
    seen: list[tuple[int, ...]] = []
    last = [layer for layer in network.modules() if isinstance(layer, SelfAttention)][-1]
    last.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        network(images(network, batch=1))
    assert seen == [(1, 1, 384, tokens, tokens)]


@pytest.mark.parametrize(
    ("stem", "size", "kernel"), [("auto", 32, 3), ("auto", 224, 7), ("small", 224, 3), ("imagenet", 64, 7)]
)
def test_the_stem_of_a_sew_resnet_fits_the_image(stem: str, size: int, kernel: int) -> None:
    network = create("sew_resnet18", num_classes=2, image_size=size, stem=stem)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert first.kernel_size == (kernel, kernel)
    assert any(isinstance(layer, nn.MaxPool2d) for layer in network.modules()) == (kernel == 7)


def test_soft_reset_and_every_surrogate_train() -> None:
    for surrogate in ("quadratic", "atan", "sigmoid", "triangle"):
        network = create("tiny", num_classes=2, image_size=8, lif=LIFParameters(v_reset=None, surrogate=surrogate))
        network(images(network), timesteps=2).sum().backward()
        gradients = [p.grad for p in network.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tinny"}, "unknown model 'tinny'. Did you mean 'tiny'?"),
        ({"neuron": "lift"}, "unknown neuron 'lift'. Did you mean 'lif'?"),
        ({"stem": "big"}, "unknown stem 'big'"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"name": "vggsnn", "image_size": 8}, "needs at least 16"),
        ({"name": "spikformer", "image_size": 30}, "image_size is 30; spikformer halves the size 2 times"),
        ({"name": "spikformer", "image_size": 72}, "4 times and needs a multiple of 16"),
        ({"name": "qkformer", "image_size": 10}, "image_size is 10; qkformer halves the size 2 times"),
        ({"name": "qkformer", "image_size": 72}, "4 times and needs a multiple of 16"),
        ({"mean": [0.5], "std": [0.5]}, "mean has 1 entries for 3 channels"),
        ({"std": [0.5, 0.5, 0.0]}, "std above 0"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError) as error:
        create(**{"name": "tiny", "num_classes": 2, **arguments})  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("shape", "timesteps", "message"),
    [
        ((1, 1, 8, 8), 1, "shape [1, 1, 8, 8]; expected images [B, 3, 8, 8]"),
        ((3, 8, 8), 1, "shape [3, 8, 8]"),
        ((1, 3, 8, 8), 0, "timesteps is 0"),
        ((2, 1, 3, 8, 8), 3, "timesteps is 3, but the input brings 2 frames"),
    ],
)
def test_impossible_inputs_are_refused(shape: tuple[int, ...], timesteps: int, message: str) -> None:
    network = create("tiny", num_classes=2, image_size=8)
    with pytest.raises(ModelError) as error:
        network(torch.zeros(shape, dtype=torch.uint8), timesteps=timesteps)
    assert message in str(error.value)
