"""What a step of training minimises, with real networks: as the plain loss, and with each trick on top of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tks_edge.frames import merged
from tks_edge.losses import Loss, create_loss, divergence, parse_options
from tks_edge.objective import Objective
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge.soft_labels import Mixture, probabilities, smoothed
from tks_edge_models import Network, create
from tks_edge_runtime.errors import InputError

T, B, K = 4, 6, 5
LABELS = torch.tensor([0, 4, 2, 2, 1, 3])


def loss(name: str = "tet") -> Loss:
    return create_loss(name, parse_options(name, []))


def network(neuron: str = "lif") -> Network:
    torch.manual_seed(3)
    return create("tiny", num_classes=K, in_channels=2, image_size=16, neuron=neuron)


def twin() -> Network:
    """A ReLU network that tells images apart: its batch norms know what it is shown."""
    made = network("relu")
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(images())
    return made.eval()


def images() -> Tensor:
    return torch.randint(0, 256, (B, 2, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def frames() -> Tensor:
    return torch.randint(0, 256, (T, B, 2, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def objective(given: dict[str, Any] | None = None, teacher: Network | None = None, frames: str = "first") -> Objective:
    settings = ObjectiveSettings(**(given or {}), teacher=None if teacher is None else "runs/twin")
    return Objective(settings, loss(), T, teacher, frames=frames)


class Seen:
    """A network that keeps what it was shown."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.pixels: list[Tensor] = []

    def __call__(self, pixels: Tensor, timesteps: int | None = None) -> Tensor:
        self.pixels.append(pixels)
        logits: Tensor = self.network(pixels, timesteps=timesteps)
        return logits


def gradients(network: Network, scalar: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(scalar, list(network.parameters())))


@pytest.mark.parametrize("pixels", [images(), frames()], ids=["still", "moving"])
def test_without_tricks_it_is_the_loss_and_draws_nothing(pixels: Tensor) -> None:
    model = network()
    before = torch.get_rng_state()
    found = objective()(model, pixels, LABELS, 0.5)
    logits = network()(pixels, timesteps=T)
    assert torch.equal(found.loss, loss()(logits, LABELS, 0.5))
    assert torch.equal(found.logits, logits)
    assert not found.logits.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    expected = gradients(model, loss()(model(pixels, timesteps=T), LABELS, 0.5))
    found = objective()(model, pixels, LABELS, 0.5)
    for mine, theirs in zip(gradients(model, found.loss), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_progress_reaches_the_loss() -> None:
    step = Objective(ObjectiveSettings(), loss("tks"), T)
    early, late = (step(network(), images(), LABELS, progress) for progress in (0.0, 1.0))
    assert torch.equal(early.loss, loss("tks")(early.logits, LABELS, 0.0))
    assert torch.equal(late.loss, loss("tks")(late.logits, LABELS, 1.0))
    assert not torch.equal(early.loss, late.loss)


def test_labels_are_smoothed() -> None:
    found = Objective(ObjectiveSettings(label_smoothing=0.1), loss("mean"), T)(network(), images(), LABELS, 0.0)
    logits = network()(images(), timesteps=T)
    expected = functional.cross_entropy(logits.mean(0), LABELS, label_smoothing=0.1)
    assert torch.allclose(found.loss, expected, rtol=1e-5)


@pytest.mark.parametrize(("pixels", "axis"), [(images(), 0), (frames(), 1)], ids=["still", "moving"])
def test_images_are_mixed_as_their_labels(pixels: Tensor, axis: int) -> None:
    model = Seen(network())
    torch.manual_seed(11)
    found = objective({"mixup": 0.4, "label_smoothing": 0.1})(model, pixels, LABELS, 0.0)
    torch.manual_seed(11)
    mixture = Mixture.draw(B, 0.4)
    assert torch.equal(model.pixels[0], mixture.of(pixels, axis))
    soft = mixture.of(smoothed(probabilities(LABELS, K), 0.1))
    assert torch.equal(found.loss, loss()(found.logits, soft, 0.0))
    assert torch.equal(soft.argmax(1), LABELS)


def test_every_t_is_drawn_about_as_often_and_a_step_runs_that_many() -> None:
    model = Seen(network())
    torch.manual_seed(5)
    step = objective({"sample_timesteps": True})
    with torch.no_grad():
        drawn = [len(step(model, images(), LABELS, 0.0).logits) for _ in range(200)]
    counts = [drawn.count(t) for t in range(1, T + 1)]
    assert sum(counts) == 200
    assert min(counts) > 30  # 50 expected; 30 is more than three standard deviations below
    torch.manual_seed(5)
    with torch.no_grad():
        again = [len(step(model, images(), LABELS, 0.0).logits) for _ in range(20)]
    assert again == drawn[:20]


@pytest.mark.parametrize("how", ["first", "rebin"])
def test_fewer_timesteps_see_the_first_frames_or_all_of_them_merged(how: str) -> None:
    model = Seen(network())
    torch.manual_seed(5)
    step = objective({"sample_timesteps": True}, frames=how)
    lengths = set()
    for _ in range(12):
        found = step(model, frames(), LABELS, 0.0)
        t = len(found.logits)
        lengths.add(t)
        assert torch.equal(model.pixels[-1], frames()[:t] if how == "first" else merged(frames(), t))
        assert torch.equal(found.loss, loss()(found.logits, LABELS, 0.0))
    assert len(lengths) > 1


@pytest.mark.parametrize("pixels", [images(), frames()], ids=["still", "moving"])
def test_the_teacher_sees_the_image_or_the_mean_frame_and_pulls_every_step(pixels: Tensor) -> None:
    teacher = twin()
    given = {"teacher_weight": 0.5, "teacher_temperature": 2.0}
    found = objective(given, teacher)(network(), pixels, LABELS, 0.0)
    logits = network()(pixels, timesteps=T)
    shown = pixels if pixels.ndim == 4 else pixels.float().mean(0)
    with torch.no_grad():
        taught = teacher(shown)[0]
    pulls = torch.stack([divergence(logits[t], taught, 2.0).mean() for t in range(T)])
    expected = loss()(logits, LABELS, 0.0) + 0.5 * pulls.mean()
    assert torch.allclose(found.loss, expected, rtol=1e-5)
    assert float(pulls.mean().detach()) > 0


def test_the_teacher_stays_as_it_is_and_sees_the_mixed_image() -> None:
    teacher = twin().train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    step = objective({"mixup": 0.4}, teacher)
    model = Seen(network())
    torch.manual_seed(11)
    found = step(model, images(), LABELS, 0.0)
    torch.autograd.backward(found.loss)
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in model.network.parameters())
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    torch.manual_seed(11)
    soft = Mixture.draw(B, 0.4).of(probabilities(LABELS, K))
    pull = divergence(found.logits, teacher(model.pixels[0]), 3.0).mean()
    assert torch.allclose(found.loss, loss()(found.logits, soft, 0.0) + 0.2 * pull, rtol=1e-5)


def test_the_teacher_sees_all_frames_where_the_network_sees_fewer() -> None:
    teacher = twin()
    step = objective({"sample_timesteps": True}, teacher)
    taught = teacher(frames().float().mean(0))
    shorter = 0
    torch.manual_seed(5)
    for _ in range(8):
        found = step(network(), frames(), LABELS, 0.0)
        expected = loss()(found.logits, LABELS, 0.0) + 0.2 * divergence(found.logits, taught, 3.0).mean()
        assert torch.allclose(found.loss, expected, rtol=1e-5)
        shorter += len(found.logits) < T
    assert shorter


@pytest.mark.parametrize("name", ["mean", "tet", "etc", "s2w", "w2s"])
def test_everything_at_once_and_from_a_saved_generator_again(name: str) -> None:
    settings = ObjectiveSettings(0.1, 0.4, sample_timesteps=True, teacher="runs/twin")
    step = Objective(settings, loss(name), T, network("relu"), frames="rebin")
    model = network()
    torch.manual_seed(0)
    step(model, frames(), LABELS, 0.0)
    saved = torch.get_rng_state()
    first = [float(step(model, frames(), LABELS, 0.5).loss.detach()) for _ in range(4)]
    torch.set_rng_state(saved)
    assert [float(step(model, frames(), LABELS, 0.5).loss.detach()) for _ in range(4)] == first
    assert len(set(first)) == 4


def test_other_than_as_many_frames_as_timesteps_are_refused() -> None:
    with pytest.raises(InputError, match="the batch has 3 frames; the training has 4 timesteps"):
        objective()(network(), frames()[:3], LABELS, 0.0)


def test_a_teacher_that_is_named_must_be_there_and_the_other_way_round() -> None:
    with pytest.raises(InputError, match="name runs/twin, and no teacher was given"):
        Objective(ObjectiveSettings(teacher="runs/twin"), loss(), T)
    with pytest.raises(InputError, match="name no teacher, and a teacher was given"):
        Objective(ObjectiveSettings(), loss(), T, network("relu"))


@pytest.mark.parametrize("given", [{}, {"mixup": 0.4, "label_smoothing": 0.1}, {"sample_timesteps": True}])
def test_it_trains(given: dict[str, Any]) -> None:
    """Six images are learnt by heart, whatever is on top."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    step = objective(given)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(step(model, images(), LABELS, 0.0).loss)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images(), timesteps=T).mean(0).argmax(-1), LABELS)
