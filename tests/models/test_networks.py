"""Every network: shapes, its twin, time, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from tks_edge_models import LIF, MODELS, LIFParameters, ModelError, Network, create
from tks_edge_models.layers import ThresholdBatchNorm2d

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
