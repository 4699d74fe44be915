from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tks_edge.settings import NeuronSettings, TrainSettings, changed, resolve
from tks_edge_runtime.errors import InputError


def test_the_defaults_are_tiny_on_digits_at_eight_steps_with_tks() -> None:
    settings = resolve({})
    assert (settings.dataset, settings.model, settings.timesteps, settings.loss) == ("digits", "tiny", 8, "tks")
    assert settings.lif == NeuronSettings(tau=2.0, threshold=0.5, reset="hard", surrogate="quadratic")
    assert settings.loss_options["reduce"] == "mean"


def test_cifar_starts_from_the_authors_recipe() -> None:
    settings = resolve({"dataset": "cifar10"})
    assert (settings.model, settings.epochs, settings.batch_size, settings.warmup_epochs) == ("resnet19", 600, 128, 5)
    assert settings.lr == 5e-3 * 128 / 1024
    assert settings.weight_decay == 0.01


def test_the_learning_rate_follows_the_batch_size_unless_given() -> None:
    assert resolve({"batch_size": 128}).lr == 2 * resolve({"batch_size": 64}).lr
    assert resolve({"batch_size": 128, "lr": 0.1}).lr == 0.1


def test_short_trainings_warm_up_for_a_tenth() -> None:
    assert [resolve({"epochs": n}).warmup_epochs for n in (1, 15, 40, 600)] == [0, 1, 4, 5]


def test_the_twin_trains_one_pass_with_the_mean_loss() -> None:
    settings = resolve({"neuron": "relu"})
    assert (settings.timesteps, settings.loss, settings.lif) == (1, "mean", None)
    same = resolve({})
    assert (settings.epochs, settings.lr, settings.batch_size) == (same.epochs, same.lr, same.batch_size)


def test_settings_survive_json() -> None:
    for given in ({}, {"neuron": "relu"}, {"dataset": "folder", "loss": "tet", "lif": {"reset": "soft"}}):
        settings = resolve(given)
        assert TrainSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "digit"}, "unknown dataset 'digit'. Did you mean 'digits'?"),
        ({"neuron": "elu"}, "unknown neuron 'elu'. Did you mean 'relu'?"),
        ({"loss": "tkd"}, "unknown loss 'tkd'. Did you mean 'tks'?"),
        ({"lif": {"reset": "none"}}, "unknown reset 'none'"),
        ({"lif": {"reset": "hrad"}}, "unknown reset 'hrad'. Did you mean 'hard'?"),
        ({"lif": {"surrogate": "atn"}}, "unknown surrogate 'atn'. Did you mean 'atan'?"),
        ({"neuron": "lfi"}, "unknown neuron 'lfi'. Did you mean 'lif'?"),
        ({"neuron": "relu", "loss": "tks"}, "Use --loss mean"),
        ({"neuron": "relu", "loss": "tet"}, "Use --loss mean"),
        ({"neuron": "relu", "timesteps": 8}, "Leave --timesteps out"),
        ({"neuron": "relu", "lif": {"tau": 3.0}}, "has no tau"),
        ({"timesteps": 0}, "timesteps is 0; allowed is 1 to 64"),
        ({"timesteps": 1000}, "timesteps is 1000; allowed is 1 to 64"),
        ({"image_size": 64}, "the samples of digits have a size of their own"),
        ({"dataset": "folder", "image_size": 4}, "image_size is 4; allowed is at least 8 and at most 1024"),
        ({"epochs": 0}, "epochs is 0; allowed is at least 1"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs is 3; allowed is at least 0 and at most 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lr": 0.0}, "lr is 0.0; allowed is above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; allowed is above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads is 0; allowed is at least 1"),
        ({"seed": 2**63}, "seed is"),
        ({"augment": "events"}, "the augmentation 'events' is not for still images, which digits holds"),
        ({"dataset": "digits-dvs", "augment": "jitter"}, "Use one of none, events, events-upright"),
    ],
)
def test_what_cannot_be_trained(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        resolve(given)
    assert said in str(error.value)


def test_differences_name_both_values() -> None:
    settings = resolve({})
    assert settings.differences(settings) == []
    other = changed(settings, {"epochs": 3, "lif": {"tau": 4.0}, "loss_options": ["tau=2"], "seed": None})
    assert sorted(settings.differences(other)) == [
        "epochs is 15, not 3",
        "lif.tau is 2.0, not 4.0",
        "loss_options.tau is 3.0, not 2.0",
    ]


def test_what_is_given_again_changes_nothing() -> None:
    settings = resolve({"epochs": 3, "loss_options": ["tau=2"]})
    again = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    again |= {"lif": {"tau": 2.0}, "objective": {}, "compute": {"accumulate": 1}, "loss_options": ["tau=2"]}
    assert changed(settings, again) == settings


def test_commands_import_nothing_heavy() -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'lightning_fabric', 'safetensors', 'PIL', 'onnx'}"
    code = "import sys, tks_edge.commands.train, tks_edge.commands.eval; "
    code += f"sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('epochs = "15"', "of a wrong kind"),
        ("batch_size = 32.5", "of a wrong kind: train.batch_size is 32.5, not int"),
        ("objective = 3", "of a wrong kind"),
        ('loss_options = "reduce=sum"', "loss_options is a text"),
        ("[settings.lif]\nfoo = 1", "of a wrong kind"),
        ("epoch = 3", "unknown setting of the recipe mine.toml: 'epoch'. Did you mean 'epochs'?"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(settings: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'title = "Mine"\ndataset = "digits"\n[settings]\n{settings}\n')
    with pytest.raises(InputError) as error:
        resolve({"recipe": str(file)})
    assert said in str(error.value)


def test_a_recipe_of_ones_own_is_not_one_that_comes_along(tmp_path: Path) -> None:
    file = tmp_path / "cifar10.toml"
    file.write_text('title = "Mine"\ndataset = "digits"\n[settings]\nepochs = 3\n')
    settings = resolve({"recipe": str(file)})
    assert settings.recipe == "cifar10.toml"
    assert changed(settings, {"recipe": str(file)}) == settings
