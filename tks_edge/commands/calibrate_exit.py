"""`tks-edge calibrate-exit`: choose when a step artifact may stop early, on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge.commands import completion
from tks_edge.commands.exit_tables import exit_row, exit_table
from tks_edge.commands.options import DataOption
from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.commands.opening import opened
from tks_edge_runtime.commands.options import DEFAULT_BACKEND, ArtifactArgument, BackendOption, DeviceOption
from tks_edge_runtime.dry_run import DryRunFlag
from tks_edge_runtime.errors import CheckError, InputError, unknown

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.data.dataset import Dataset
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.exit_choice import Trial
    from tks_edge_runtime.exit_measures import ExitRule
    from tks_edge_runtime.exit_rule import CalibratedRule
    from tks_edge_runtime.session import Session

_BEST = "best"


def calibrate_exit(
    artifact: ArtifactArgument,
    run: Annotated[
        Path,
        typer.Option(
            help="The run directory that it was exported from.", show_default=False, autocompletion=completion.run
        ),
    ],
    max_loss: Annotated[
        float, typer.Option(min=0, max=100, help="Points of accuracy that stopping early may cost there.")
    ] = 0.0,
    by: Annotated[
        str,
        typer.Option(
            help="What to stop by: confidence, entropy or margin; best compares all three.",
            autocompletion=completion.measure,
        ),
    ] = _BEST,
    timesteps: Annotated[
        int | None,
        typer.Option(help="The most timesteps of a sample.", show_default="as many as it was exported for"),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Validation samples to choose it on, at most, evenly spaced.")
    ] = 10_000,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    data: DataOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Choose when a step artifact may stop early, on the validation split, and keep the rule beside it."""
    with running(as_json, debug) as out:
        with out.waiting("loading PyTorch"):
            from tks_edge.checkpoint import load_run
            from tks_edge_runtime.artifact import Artifact
            from tks_edge_runtime.backends.choice import choose
            from tks_edge_runtime.contract import timesteps_of
            from tks_edge_runtime.dry_run import Intent, show_intent, written
            from tks_edge_runtime.exit_choice import allowed_errors, best_rule
            from tks_edge_runtime.exit_measures import MEASURES
            from tks_edge_runtime.exit_rule import rule_path, write_exit_rule

        if by not in (_BEST, *MEASURES):
            raise unknown("measure", by, (_BEST, *MEASURES))
        measures = MEASURES if by == _BEST else (by,)
        trained, source = load_run(run), Artifact.open(artifact)
        _check(source, trained)
        with out.waiting("opening the data"):
            dataset = trained.dataset(data)
        if dry_run:
            steps = timesteps_of(source, timesteps)
            _check_steps(source, steps)
            chosen_on = min(samples, len(dataset.validation))
            engine = choose(backend, [source], device=device)
            what = f"run {artifact} for {steps} steps on {chosen_on:,} validation samples of {dataset.name}"
            show_intent(Intent([f"{what}, on {engine.backend} {engine.device}"], written([rule_path(artifact)])), out)
            return
        with opened(out, artifact, backend, device=device, threads=None, cuda_graph=False, steps=timesteps) as using:
            trial = _trial(using.session, trained, dataset, samples, using.show)
        chosen = best_rule(trial, max_loss, measures)
        found = {rule: trial.outcome(rule) for rule in (trial.choose(name, max_loss) for name in measures) if rule}
        whole = trial.outcome()
        out.console.print(
            exit_table(f"{artifact.name} on the validation split of {dataset.name}", whole, found, chosen)
        )
        if chosen is None:
            raise CheckError(
                f"no threshold of {' or '.join(measures)} stops a sample early within {max_loss:g} points of T="
                f"{trial.timesteps} ({whole.correct} of {whole.samples} right). Nothing was written. Allow more with "
                "--max-loss."
            )
        out.say(
            f"{max_loss:g} points are {allowed_errors(max_loss, whole.samples)} of these {whole.samples} samples; on "
            "others the rule may cost more or less."
        )
        replaced = rule_path(artifact).exists()
        kept = write_exit_rule(artifact, _record(artifact, trial, chosen, dataset.name, max_loss))
        out.say(f"{'replaced' if replaced else 'written'}: {kept} ({chosen})")
        out.document(
            {
                "artifact": str(artifact),
                "run": str(run),
                "rule": str(kept),
                "dataset": dataset.name,
                "split": "validation",
                "timesteps": trial.timesteps,
                "max_loss": max_loss,
                "without": exit_row(None, whole),
                "rules": [exit_row(rule, outcome) | {"chosen": rule == chosen} for rule, outcome in found.items()],
            }
        )
        place = [
            *(("--backend", backend) if backend != DEFAULT_BACKEND else ()),
            *(("--device", device) if device else ()),
        ]
        out.next("profile", str(artifact), "--early-exit", *place)


def _check(artifact: Artifact, run: Run) -> None:
    """Refuse an artifact that cannot stop early, or is not this run's."""
    from tks_edge.artifacts import check_origin
    from tks_edge_runtime.artifact import STEP

    manifest = artifact.manifest
    if manifest.form != STEP:
        raise InputError(
            f"{artifact.path} is a static graph of T={manifest.timesteps}, which cannot stop early. Export one "
            f"timestep instead: tks-edge export {run.path} --timesteps {run.config.train.timesteps} --form step"
        )
    check_origin(artifact, run)


def _check_steps(artifact: Artifact, timesteps: int) -> None:
    if timesteps == 1:
        raise InputError(f"{artifact.path} runs for one timestep, and nothing is left to stop. Take two or more.")


def _trial(session: Session, run: Run, dataset: Dataset, samples: int, show: Callable[[str, float], None]) -> Trial:
    """The artifact itself at every step of validation samples, which are shown to it as it was exported for."""
    from tks_edge.views import view_of
    from tks_edge_runtime.exit_choice import Trial
    from tks_edge_runtime.step_logits import step_logits

    manifest, path = session.manifest, session.artifact.path
    _check_steps(session.artifact, session.timesteps)
    view = view_of(run, manifest.timesteps, manifest.frames, path)
    inputs, labels = view.stacked(dataset.validation.evenly_spaced(samples))
    inputs = inputs.astype(manifest.input.dtype, copy=False)
    return Trial(step_logits(session, inputs, lambda fraction: show(f"running {path.name}", fraction)), labels)


def _record(artifact: Path, trial: Trial, chosen: ExitRule, dataset: str, max_loss: float) -> CalibratedRule:
    from tks_edge_runtime.exit_rule import CalibratedRule
    from tks_edge_runtime.files import sha256_of

    whole, outcome = trial.outcome(), trial.outcome(chosen)
    return CalibratedRule(
        sha256=sha256_of(artifact),
        measure=chosen.measure,
        threshold=chosen.threshold,
        timesteps=trial.timesteps,
        dataset=dataset,
        split="validation",
        samples=outcome.samples,
        max_loss=max_loss,
        correct_at_timesteps=whole.correct,
        correct=outcome.correct,
        mean_steps=outcome.mean_steps,
    )
