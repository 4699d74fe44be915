"""What a row measures: one artifact on one engine, opened in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tks_edge_runtime.artifact import STEP, Artifact
from tks_edge_runtime.backends import BuildProgress, check_options, find_backend, foreign_target
from tks_edge_runtime.backends.choice import choose
from tks_edge_runtime.energy_estimate import estimated_energy
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.exit_rule import CalibratedRule, read_exit_rule
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.reporting.row import FAILED, EarlyExit, Row
from tks_edge_runtime.session import Session, load


@dataclass(frozen=True)
class Candidate:
    """One artifact on one engine.

    Attributes:
        artifact: the file and its manifest.
        backend: what runs it.
        device: where it computes.
        threads: threads inside one operator; None leaves the number to the library.
        cuda_graph: whether its launches are replayed as one.
        early_exit: the rule that it is run by, of a step artifact; None to run all its timesteps.
    """

    artifact: Artifact
    backend: str
    device: str
    threads: int | None = None
    cuda_graph: bool = False
    early_exit: CalibratedRule | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """That of its row; see `Row.key`."""
        has_graphs = self.device in find_backend(self.backend).cuda_graph_devices
        graph = self.cuda_graph if has_graphs else None
        return self.artifact.path.name, self.backend, self.device, graph, self.early_exit is not None

    @property
    def label(self) -> str:
        """The file and what runs it, in words."""
        graph = ", with a CUDA graph" if self.cuda_graph else ""
        stopping = "" if self.early_exit is None else ", stopping early"
        return f"{self.artifact.path.name} on {self.backend} {self.device}{graph}{stopping}"

    def load(self, *, spinning: bool, on_build: BuildProgress | None) -> Session:
        """Open it; errors are those of `tks_edge_runtime.session.load`."""
        return load(
            self.artifact.path,
            self.backend,
            device=self.device,
            threads=self.threads,
            spinning=spinning,
            cuda_graph=self.cuda_graph,
            steps=None if self.early_exit is None else self.early_exit.timesteps,
            on_build=on_build,
        )

    def row(self) -> Row:
        """Its row as far as the manifest knows it: of something that was not run yet, and does not say so."""
        manifest, path, rule = self.artifact.manifest, self.artifact.path, self.early_exit
        timesteps = manifest.timesteps if rule is None else rule.timesteps
        return Row(
            file=path.name,
            sha256=sha256_of(path),
            name=manifest.name,
            model=manifest.network.name,
            neuron=manifest.network.neuron,
            is_twin=manifest.is_twin,
            timesteps=timesteps,
            train_timesteps=manifest.train_timesteps,
            precision=manifest.precision.name,
            form=manifest.form,
            target=manifest.target,
            backend=self.backend,
            device=self.device,
            cuda_graph=None,
            batch_size=manifest.input.shape[0],
            size_bytes=path.stat().st_size,
            parameters=manifest.network.parameters,
            classes=manifest.classes,
            evaluation=manifest.evaluation,
            status=FAILED,
            reason=None,
            self_test=None,
            recorded_accuracy=manifest.accuracy_at(timesteps) if rule is None else None,
            recorded_train_accuracy=manifest.accuracy_at(manifest.train_timesteps),
            weights_sha256=manifest.weights_sha256,
            early_exit=None if rule is None else EarlyExit(rule.measure, rule.threshold),
            estimate=estimated_energy(manifest) if rule is None else None,
            layers=manifest.layers,
        )


Engine = tuple[str, str]
"""A backend and one of its devices."""


def engines_of(names: str, artifacts: Sequence[Artifact], *, cuda_graph: bool = False) -> tuple[Engine, ...]:
    """The engines that a list by commas names, `backend` or `backend:device` each; `auto` chooses by the artifacts.

    Raises:
        InputError: there is no such backend or device, or one is named twice.
        MissingError: a backend's library, its driver or the device is missing.
    """
    found: list[Engine] = []
    for name in (part.strip() for part in names.split(",")):
        backend, _, device = name.partition(":")
        chosen = choose(backend, artifacts, device=device or None, cuda_graph=cuda_graph)
        find_backend(chosen.backend).require(chosen.device)
        if (chosen.backend, chosen.device) in found:
            raise InputError(f"--backend {names} names {chosen.backend} on {chosen.device} twice.")
        found.append((chosen.backend, chosen.device))
    return tuple(found)


def candidates_of(
    artifacts: Sequence[Artifact], engines: Sequence[Engine], *, threads: int | None, cuda_graph: bool
) -> list[Candidate]:
    """Every artifact on each engine that it is for; with `cuda_graph` twice, without and with one.

    A step artifact with a rule beside it is there with and without early exit.

    One engine runs everything, and must have what is asked for. Of several, each runs what was not lowered for another
    one; threads are for those on a CPU, and CUDA graphs for those that have them.

    Raises:
        InputError: an engine has nothing to run, or none has what is asked for.
        ArtifactError: the rule beside an artifact is damaged, or of another one.
    """
    several = len(engines) > 1
    on_cpu = [engine for engine in engines if engine[1] == "cpu"]
    replaying = [engine for engine in engines if engine[1] in find_backend(engine[0]).cuda_graph_devices]
    check_options(*(on_cpu or engines)[0], threads=threads, cuda_graph=False)
    check_options(*(replaying or engines)[0], threads=None, cuda_graph=cuda_graph)
    found = [
        Candidate(artifact, *engine, threads if engine in on_cpu else None, replayed, rule)
        for artifact in artifacts
        for rule in _rules(artifact)
        for engine in engines
        if not several or foreign_target(artifact.manifest.target, *engine) is None
        for replayed in ((False, True) if cuda_graph and engine in replaying else (False,))
    ]
    for backend, device in engines:
        if not any((one.backend, one.device) == (backend, device) for one in found):
            raise InputError(f"no artifact is for {backend} on {device}: all are lowered for other engines.")
    return found


def _rules(artifact: Artifact) -> list[CalibratedRule | None]:
    """Without early exit, and with the rule beside the artifact where there is one."""
    rule = read_exit_rule(artifact.path) if artifact.manifest.form == STEP else None
    return [None] if rule is None else [None, rule]
