"""What a shell completes the options of `tks-edge` to, beyond those of the runtime.

The names are written down here where the things that bear them import torch or NumPy, since a key must not wait for
that; a test compares them.
"""

from __future__ import annotations

from tks_edge.commands.export_format import FORMATS
from tks_edge.data.facts import AUGMENTATIONS, DATASETS
from tks_edge.deploy.target import MACHINES
from tks_edge.recipes import RECIPES
from tks_edge.settings import RESETS
from tks_edge.settings.compute import CHECKPOINTS, LIF_KERNELS, PRECISIONS, STRATEGIES
from tks_edge.settings.frames import CUTS, FEWER
from tks_edge_runtime import plugins
from tks_edge_runtime.completion import artifact, files_with, folders_with, one_of, some_of

MODELS = (
    "tiny",
    *("sew_resnet18", "sew_resnet34", "sew_resnet50", "ms_resnet18", "ms_resnet34"),
    *("resnet19", "vggsnn", "spikformer", "qkformer"),
)
LOSSES = ("mean", "tet", "etc", "s2w", "w2s", "tks", "tks-published")
NEURONS = ("lif", "relu")
SURROGATES = ("quadratic", "atan", "sigmoid", "triangle")
DEVICES = ("auto", "cpu", "cuda")
MEMBRANES = ("fp32", "fp16")
INPUT_DTYPES = ("uint8", "float32")
LOSS_OPTIONS = (
    *("tau", "alpha", "reduce", "detach", "none_correct", "student_temperature"),
    *("lam", "target", "weight", "select"),
)
BACKEND_EXTRAS = ("onnxruntime", "openvino", "none")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LEAKS = ("euler", "exponential")
FIRES = ("at", "above")
AXES = ("B", "TB", "BT")
MEASURES = ("confidence", "entropy", "margin")
PASSES = (
    *("fold_constants", "lift_constants", "fold_batch_norm", "sink_reshapes", "remove_reshapes", "normalize_neurons"),
    *("remove_unused", "channel_units", "share_still", "merge_time", "first_step", "fold_readout", "hard_sigmoid"),
    *("eliminate_common_subexpressions", "deduplicate_initializers"),
)

run = folders_with("config.json")
recipe_file = files_with(".toml")
nir_file = files_with(".nir")
weights = files_with(".safetensors", ".pt", ".pth")
example = files_with(".npy")
model = one_of(MODELS, plugins.NETWORKS)
loss = one_of(LOSSES, plugins.LOSSES)
dataset = one_of(DATASETS, plugins.DATASETS)
augmentation = one_of(AUGMENTATIONS)
neuron = one_of(NEURONS)
surrogate = one_of(SURROGATES)
reset = one_of(RESETS)
leak = one_of(LEAKS)
fires = one_of(FIRES)
input_axes = one_of(AXES)
cut = one_of(CUTS)
frames = one_of(FEWER)
device = one_of(DEVICES)
membrane = one_of(MEMBRANES)
input_dtype = one_of(INPUT_DTYPES)
measure = one_of(("best", *MEASURES))
skipped_pass = one_of(PASSES)
added_pass = one_of((), plugins.PASSES)
format_ = one_of(FORMATS)
backend_extra = some_of(BACKEND_EXTRAS)
python = one_of(PYTHONS)
machine = one_of(MACHINES)
wheel = files_with(".whl")
loss_option = one_of(f"{name}=" for name in LOSS_OPTIONS)
training_precision = one_of(PRECISIONS)
checkpoint = one_of(CHECKPOINTS)
lif_kernel = one_of(LIF_KERNELS)
strategy = one_of(STRATEGIES)


def recipe(incomplete: str) -> list[str]:
    """Complete to a recipe that comes along, or to a TOML file."""
    return [*one_of(RECIPES)(incomplete), *recipe_file(incomplete)]


def described(incomplete: str) -> list[str]:
    """Complete to what `info` describes: an artifact, or a run directory."""
    return [*run(incomplete), *artifact(incomplete)]
