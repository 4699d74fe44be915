"""Training: from settings to a run directory, on Lightning Fabric; `training.py` holds the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from tks_edge.checkpoint import CONFIG, Run, RunConfig, load_run, network_from
from tks_edge.computation import check_compute, check_shared, choose_neurons, compiling
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import open_dataset, reopen
from tks_edge.device import launch_fabric
from tks_edge.distributed.launch import Launch
from tks_edge.distributed.processes import Processes
from tks_edge.resume import needs_no_state
from tks_edge.run_directory import begun, refuse_to_overwrite, remove_half_written
from tks_edge.runs import is_run
from tks_edge.settings import TrainSettings
from tks_edge.start import started
from tks_edge.teacher import Teacher, load_teacher
from tks_edge.tensorboard import check_installed
from tks_edge.training import Conduct, Training
from tks_edge.watcher import SILENT, Watcher
from tks_edge_models import LIFParameters, ModelError, Network, create
from tks_edge_runtime.errors import InputError


def train(
    settings: TrainSettings,
    output: Path | str,
    *,
    data: Path | str | None = None,
    download: bool = False,
    workers: int = 0,
    device: str = "auto",
    save_every: int | None = None,
    skip_corrupt: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    watcher: Watcher = SILENT,
) -> Run:
    """Train a network into the run directory `output` and give back its best epoch.

    On the same CPU the same settings give the same weights, bit for bit, interrupted and resumed or not. One that fails
    before anything is saved (an image cannot be read) leaves no directory behind.

    Called in each process that torchrun starts, it trains in all of them together: the first writes and tells the
    watcher, all give back the run, and a job that torchrun has restarted goes on where it was.

    Args:
        settings: everything that decides the weights; see `settings.resolve`.
        output: the run directory; it must not exist, or be empty, without `resume` or `overwrite`.
        data: the folder that holds the data set.
        download: fetch what is not there, where the data set's own site allows it.
        workers: processes that load samples, for each that trains; 0 loads them between the steps.
        device: "auto", "cpu" or "cuda".
        save_every: also save the state after every so many steps, counted from the beginning; None: after each epoch.
        skip_corrupt: leave out samples that cannot be read, count and name them; else the first ends the training.
        resume: continue the training in `output`; one that is finished is left as it is.
        overwrite: replace the run in `output`.
        tensorboard: also write TensorBoard's files.
        watcher: is told about every step and epoch.

    Raises:
        DirectoryInUseError: something stands at `output`, or another training has just begun there.
        InputError: a name that does not exist, settings other than the resumed run's, a damaged run, an image that
            cannot be read, a batch that the processes cannot share evenly.
        MissingError: no such device on this machine, no compiler, no TensorBoard, no data.
        CheckError: the loss is no finite number any more; the network cannot be compiled.
        LostProcessError: another process of the training has ended.
        KeyboardInterrupt: after Ctrl-C or SIGTERM in any of the processes, once the state is saved.
    """
    if tensorboard:
        check_installed()
    launch = Launch.here()
    fabric = launch_fabric(device, settings.compute, launch)
    processes = Processes(fabric, launch)
    path = processes.once(lambda: Path(output))
    if (before := processes.once(launch.begun)) is not None:
        path, overwrite = before, False
        resume = processes.once(lambda: is_run(path))
    recorded = processes.once(lambda: recorded_run(path, settings, resume=resume, overwrite=overwrite))
    if recorded is not None:
        processes.once(lambda: remove_half_written(path))
    if recorded is None:
        check_shared(settings.compute, processes.world)
    check_compute(settings.compute, processes)
    if recorded is not None and processes.once(lambda: needs_no_state(path)):
        return processes.once(lambda: load_run(path))
    dataset = processes.one_a_machine_first(lambda: _opened(settings, recorded, data, download=download))
    processes.check_batch(settings.batch_size, len(dataset.train), settings.compute.accumulate)
    begun_with = None if recorded is None else recorded.kernel
    kernel = processes.once(lambda: choose_neurons(settings, fabric.device, begun_with))
    torch.manual_seed(settings.seed)
    network, start = network_to_train(settings, dataset, recorded, path)
    teacher = processes.once(lambda: _teacher(settings, dataset, recorded))
    with contextlib.ExitStack() as stack:
        if recorded is None:
            taught_by = None if teacher is None else teacher.weights_sha256
            chosen = None if kernel is None else kernel.name
            config = RunConfig.now(network, settings, dataset, taught_by, chosen, start=start)
            processes.once(lambda: stack.enter_context(begun(path, config, overwrite=overwrite)))
        launch.remember(path)
        conduct = Conduct(workers, save_every, skip_corrupt, watcher)
        stack.enter_context(_threads(settings.threads))
        training = Training(fabric, processes, path, settings, dataset, network, teacher, kernel, conduct)
        with compiling(settings.compute, network, settings.timesteps):
            training.run(tensorboard=tensorboard)
        return processes.once(lambda: load_run(path))


def _opened(settings: TrainSettings, recorded: RunConfig | None, data: Path | str | None, *, download: bool) -> Dataset:
    if recorded is not None:
        return reopen(recorded.dataset, data, download=download)
    return open_dataset(
        settings.dataset,
        data,
        image_size=settings.image_size,
        timesteps=settings.timesteps,
        frames=settings.frames,
        download=download,
    )


def _teacher(settings: TrainSettings, dataset: Dataset, recorded: RunConfig | None) -> Teacher | None:
    """The teacher that the settings name; the one that a resumed run began with."""
    if settings.objective.teacher is None:
        return None
    # Building it draws weights: the processes that do not load it must go on with the same random numbers.
    with torch.random.fork_rng(devices=()):
        teacher = load_teacher(settings.objective.teacher, dataset, settings.timesteps)
    if recorded is not None and recorded.teacher != teacher.weights_sha256:
        raise InputError(
            f"the teacher in {settings.objective.teacher} has other weights than when this run began. Restore them, or "
            f"train anew into another --output."
        )
    return teacher


def network_to_train(
    settings: TrainSettings, dataset: Dataset, recorded: RunConfig | None, path: Path
) -> tuple[Network, str | None]:
    """The network as it is before the first step, or before a resumed run's state is read.

    Args:
        settings: of the training.
        dataset: what it is trained on.
        recorded: the configuration of the run that is resumed.
        path: the run directory.

    Returns:
        The network, and the SHA-256 of the weights that it begins with; None for fresh ones.

    Raises:
        InputError: a name or a number is not allowed, or the run that it begins with does not fit the data.
    """
    if settings.start is None:
        return build_network(settings, dataset), None
    if recorded is not None:  # The run that it began with need not be there any more.
        return network_from(recorded.network, path / CONFIG), recorded.start
    return started(settings, dataset)


def build_network(settings: TrainSettings, dataset: Dataset) -> Network:
    """The network that `settings` ask for on `dataset`, with fresh weights from torch's global generator.

    Raises:
        InputError: a name or a number is not allowed.
    """
    try:
        lif = None
        if settings.lif is not None:
            lif = LIFParameters(
                tau=settings.lif.tau,
                v_threshold=settings.lif.threshold,
                v_reset=0.0 if settings.lif.reset == "hard" else None,
                surrogate=settings.lif.surrogate,
            )
        return create(
            settings.model,
            num_classes=len(dataset.classes),
            in_channels=dataset.in_channels,
            image_size=dataset.image_size,
            neuron=settings.neuron,
            lif=lif,
            mean=dataset.mean,
            std=dataset.std,
        )
    except ModelError as error:
        raise InputError(str(error)) from error


def recorded_run(path: Path, settings: TrainSettings, *, resume: bool, overwrite: bool) -> RunConfig | None:
    """The configuration of the run to resume; None for a training that begins anew. Nothing is written.

    Raises:
        DirectoryInUseError: something stands at `path`, and it is neither to be resumed nor to be replaced.
        InputError: `path` holds no run to resume, or one of other settings.
    """
    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite replaces it. Give one of them.")
    if not resume:
        refuse_to_overwrite(path, overwrite=overwrite)
        return None
    recorded = RunConfig.read(path)
    if recorded.origin is not None:
        raise InputError(f"{path} was imported, and no training of it can be resumed. Choose another --output.")
    recorded.check_plugins(path, "model", "loss", "dataset")
    if differences := recorded.train.differences(settings):
        raise InputError(
            f"{path} was trained with other settings: {'; '.join(differences)}. Resume without them, or train anew "
            f"into another --output."
        )
    return recorded


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch compute on this many threads of the CPU within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number if number is not None else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
