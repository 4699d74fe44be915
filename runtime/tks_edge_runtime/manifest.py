"""The manifest: everything about an artifact that is not in its graph, as dataclasses.

Other packages import these names from `tks_edge_runtime.artifact`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 2
MAX_TIMESTEPS = 64
"""The largest T that is trained or unrolled: beyond it a static graph is no longer the right form."""
STATIC, STEP = "static", "step"
FORMS = (STATIC, STEP)
"""All timesteps in one graph without states; or one timestep, whose states are inputs and outputs."""
DIRECT, FRAMES = "direct", "frames"
ENCODINGS = (DIRECT, FRAMES)
"""The same image at every timestep; or a frame for each."""
GENERIC = "generic"
TARGETS = (GENERIC, "onnxruntime-cpu", "openvino", "tensorrt")
"""What a graph may be lowered for: an engine, or none in particular."""
WEIGHTS, NEURON = "weights", "neuron"
LAYER_KINDS = (WEIGHTS, NEURON)
"""A convolution or matrix product, of two computed tensors too; or LIF neurons."""
ANALOGUE, SPIKES = "analogue", "spikes"
LAYER_INPUTS = (ANALOGUE, SPIKES)
"""Any numbers; or whole numbers that come from LIF neurons: spikes, or sums of them."""


@dataclass(frozen=True)
class NetworkSpec:
    """Which network this is: registry name, neuron ("lif" or "relu"), and its construction options."""

    name: str
    neuron: str
    options: dict[str, Any]
    parameters: int


@dataclass(frozen=True)
class NeuronSpec:
    """The LIF constants: membrane time constant in steps, threshold, and reset (a potential; None: by subtraction).

    `tau` is None where nothing leaks; `v_jump` is what a reset by subtraction takes, None for the threshold.
    """

    tau: float | None
    v_threshold: float
    v_reset: float | None
    decay_input: bool
    v_jump: float | None = None


@dataclass(frozen=True)
class Precision:
    """The number formats in the graph, as NumPy dtype names. `name` is the short form used in file names ("fp32").

    `ends` is the format of the weights of the first layer and the classifier; `kept_float` are the module paths of
    other layers that int8 left in float32, on request or because it cannot cover them.
    """

    name: str
    weights: str
    spikes: str
    membrane: str
    ends: str = "float32"
    kept_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSpec:
    """A graph input or output: its name, static shape, NumPy dtype name, layout ("NCHW") and meaning."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    meaning: str


@dataclass(frozen=True)
class StateSpec:
    """A state of a neuron layer in a step graph: what `output` gives is `input` of the next step, and `zero` at first.

    `name` is the layer's module path ("body.0"), with ".0", ".1" behind it where it has several states; input and
    output are `state.<name>` and `state.<name>.out`, since a graph cannot have an input and an output of one name. Both
    have this static shape (batch axis first) and dtype.
    `zero` is the integer that stands for 0 in it, other than 0 where the state is held in 8-bit codes.
    """

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    zero: int = 0


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes an input: colour mode of Pillow ("L" or "RGB"), size, then centre crop.

    `resize`, in pixels, is what the shorter side becomes (None: straight to the crop's size); `crop` is (height, width)
    in pixels.
    """

    mode: str
    resize: int | None
    crop: tuple[int, int]


@dataclass(frozen=True)
class FrameSpec:
    """How a recording of an event camera becomes frames: counts of events, one channel a polarity.

    The whole recording is cut into `timesteps` frames of the same share of its "time" or its "events", as `cut` says; a
    graph of a smaller T takes the first of them. With `norms_restated`, batch norm's statistics in the graph are those
    of such frames, rather than those of the training.
    """

    cut: str
    timesteps: int
    norms_restated: bool = False


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy of the trained network at one T, as counts, on the evaluation set's split."""

    timesteps: int
    correct: int
    total: int


@dataclass(frozen=True)
class EvaluationSpec:
    """The set that `accuracies` were taken on; `file` is None where it was not written beside the artifact.

    `sha256` is of what the network is given. `recordings` identifies what that was cut from, where frames differ with
    T; None for still images.
    """

    dataset: str
    split: str
    samples: int
    sha256: str
    file: str | None
    recordings: str | None = None

    @property
    def identity(self) -> str:
        """What two artifacts have in common whose accuracies were taken on the same samples."""
        return self.sha256 if self.recordings is None else self.recordings


@dataclass(frozen=True)
class Verification:
    """What the comparison of this graph with its network found, over `samples` inputs.

    `spikes` decisions were compared one by one; `borderline` of them differ, each with its membrane within rounding of
    the threshold; `exact` of them were of layers where none may. `max_logit_difference` is absolute. `agreement` is the
    share of the inputs for which the trained network, in its own precision, predicts the same class.
    """

    samples: int
    spikes: int
    borderline: int
    max_logit_difference: float
    logit_tolerance: float
    exact: int = 0
    agreement: float = 1.0


@dataclass(frozen=True)
class CodeSpec:
    """How 8 bits hold a number: `round(x / scale) + zero`, in int8 where `signed`, else in uint8."""

    scale: float
    zero: int
    signed: bool


@dataclass(frozen=True)
class CalibrationSpec:
    """What int8 rounds that is no spike, by module path: a layer's input, its output, a membrane (its code of 0)."""

    inputs: dict[str, CodeSpec]
    currents: dict[str, CodeSpec]
    zeros: dict[str, int]


@dataclass(frozen=True)
class LayerSpec:
    """What one layer does for one sample, over the whole run at the manifest's T.

    Attributes:
        path: its module path ("body.3.0"). Every node of the graph that is part of it has a name that begins with the
            path and a dot; where the paths of several layers do so, it is part of the longest.
        kind: one of `LAYER_KINDS`.
        macs: dense multiply-accumulates as the graph does them: what comes before the first LIF layer runs once on a
            still image, or at every step of a step graph. Products with the zeros of a padding count. 0 of neurons.
        input: one of `LAYER_INPUTS`; None of neurons. A layer that reads both counts as analogue.
        input_rate: the mean of what it reads where that is spikes: how many accumulates a multiply-accumulate is, and
            for single spikes the share that is not 0. Where it reads numbers, the share that is not 0. None of neurons.
        fire_rate: spikes a neuron and timestep; None of other layers.
        outputs: the graph's outputs that its nodes give: some engines call a node by these instead.
    """

    path: str
    kind: str
    macs: int = 0
    input: str | None = None
    input_rate: float | None = None
    fire_rate: float | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about an artifact that is not in its graph. Stored as one line of JSON.

    `form` is one of `FORMS`. A static graph is unrolled at T = `timesteps` and has no `states`. A step graph is one
    timestep and serves every T; `timesteps` is the T that its golden pair was taken at, and that it is run at where
    nothing else is asked for. `encoding` is one of `ENCODINGS`, `target` one of `TARGETS`. `outputs` are those that are
    no states; `skipped_passes` were left out of `passes` on request. `layers` are in the order of execution, with rates
    over the samples of the verification; none where an older version wrote the artifact.
    """

    schema_version: int
    name: str
    network: NetworkSpec
    train_timesteps: int
    timesteps: int
    form: str = STATIC
    states: tuple[StateSpec, ...] = ()
    target: str = GENERIC
    neuron: NeuronSpec | None
    encoding: str
    readout: str
    precision: Precision
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing | None
    frames: FrameSpec | None = None
    classes: tuple[str, ...]
    accuracies: tuple[Accuracy, ...]
    evaluation: EvaluationSpec | None
    golden_file: str
    weights_sha256: str
    opset: int
    tools: dict[str, str]
    passes: tuple[str, ...]
    skipped_passes: tuple[str, ...] = ()
    calibration: CalibrationSpec | None = None
    verification: Verification | None
    layers: tuple[LayerSpec, ...] = ()
    created: str

    def to_json(self) -> str:
        """The manifest as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @property
    def is_twin(self) -> bool:
        """Whether this is the plain ReLU network rather than a spiking one."""
        return self.network.neuron == "relu"

    @property
    def batch(self) -> TensorSpec:
        """One batch of samples: the input; where a step graph takes frames one by one, T of them, `[N, T, ...]`."""
        if self.form != STEP or self.encoding != FRAMES:
            return self.input
        size, *frame = self.input.shape
        layout = self.input.layout.replace("N", "NT", 1)
        return dataclasses.replace(self.input, shape=(size, self.timesteps, *frame), layout=layout)

    def accuracy_at(self, timesteps: int) -> Accuracy | None:
        """The trained network's accuracy at `timesteps`, if the export recorded it."""
        return next((a for a in self.accuracies if a.timesteps == timesteps), None)
