"""The rule that was chosen for a step artifact, beside it as `<stem>.exit.json`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.artifact import MAX_TIMESTEPS, STEP, Artifact
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.files import read_json, sha256_of, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CalibratedRule:
    """A rule, what it was chosen for, and what it gave there.

    Attributes:
        sha256: of the artifact.
        measure, threshold: the rule.
        timesteps: T, the most steps that a sample runs.
        dataset, split, samples: what it was chosen on.
        max_loss: how many points of accuracy it was allowed to cost there.
        correct_at_timesteps: how many of the samples were right at T.
        correct: how many were right with the rule.
        mean_steps: timesteps a sample, on average, with the rule.
    """

    sha256: str
    measure: str
    threshold: float
    timesteps: int
    dataset: str
    split: str
    samples: int
    max_loss: float
    correct_at_timesteps: int
    correct: int
    mean_steps: float
    schema_version: int = SCHEMA_VERSION

    @property
    def rule(self) -> ExitRule:
        """The rule alone, as `Session.anytime` takes it."""
        return ExitRule(self.measure, self.threshold)


def rule_path(artifact: Path) -> Path:
    """Where the rule of the artifact at `artifact` is kept."""
    return artifact.with_suffix(".exit.json")


def write_exit_rule(artifact: Path, chosen: CalibratedRule) -> Path:
    """Keep a rule beside the artifact at `artifact`, in place of another one: where it was written."""
    path = rule_path(artifact)
    write_json(path, dataclasses.asdict(chosen))
    return path


def read_exit_rule(artifact: Path | str) -> CalibratedRule | None:
    """The rule that is kept beside the artifact at `artifact`; None where there is none.

    Raises:
        ArtifactError: the file is damaged, of another artifact, or of another schema.
    """
    artifact = Path(artifact)
    path = rule_path(artifact)
    if not path.exists():
        return None
    try:
        chosen = _parsed(read_json(path), path)
    except ArtifactError:
        raise
    except (InputError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} holds no rule ({str(error)[:200]}). Write it again: tks-edge calibrate-exit {artifact} --run RUN"
        ) from error
    if chosen.sha256 != sha256_of(artifact):
        raise ArtifactError(
            f"{path} was chosen for another artifact than {artifact.name}, which was exported again since, or has only "
            f"its name. Choose another: tks-edge calibrate-exit {artifact} --run RUN"
        )
    return chosen


def _parsed(document: Any, path: Path) -> CalibratedRule:
    found = document.get("schema_version") if isinstance(document, dict) else None
    if type(found) is int and found != SCHEMA_VERSION:
        advice = "update tks-edge" if found > SCHEMA_VERSION else "choose it again with `tks-edge calibrate-exit`"
        raise ArtifactError(f"{path} has schema {found}; this version reads {SCHEMA_VERSION}: {advice}.")
    chosen = parse(CalibratedRule, document, "the rule")
    _check(chosen)
    return chosen


def _check(chosen: CalibratedRule) -> None:
    """ValueError or InputError for values that have the right type and no sense."""
    _ = chosen.rule
    if not (chosen.dataset.isprintable() and chosen.split.isprintable()):
        raise ValueError("the name of its data set holds control characters")
    if not 1 <= chosen.timesteps <= MAX_TIMESTEPS or not 1 <= chosen.mean_steps <= chosen.timesteps:
        raise ValueError(f"{chosen.mean_steps} steps of T={chosen.timesteps}")
    if not max(0, chosen.correct, chosen.correct_at_timesteps) <= chosen.samples or chosen.samples < 1:
        raise ValueError(f"{chosen.correct} and {chosen.correct_at_timesteps} right of {chosen.samples}")
    if min(chosen.correct, chosen.correct_at_timesteps) < 0 or not 0 <= chosen.max_loss <= 100:
        raise ValueError(f"{chosen.correct} and {chosen.correct_at_timesteps} right, {chosen.max_loss} points allowed")


def rule_beside(artifact: Path, steps: int | None) -> CalibratedRule:
    """The rule that was chosen for an artifact.

    Raises:
        InputError: the artifact is a static graph, has no rule, or one that was chosen for another T than is asked for.
        ArtifactError: the artifact or its rule is damaged, or they do not belong together.
    """
    if Artifact.open(artifact).manifest.form != STEP:
        raise InputError(f"{artifact} is a static graph, which cannot stop early. Export it with --form step.")
    found = read_exit_rule(artifact)
    if found is None:
        raise InputError(
            f"there is no {rule_path(artifact).name} beside {artifact}. Choose a rule: "
            f"tks-edge calibrate-exit {artifact} --run RUN"
        )
    if steps not in (None, found.timesteps):
        raise InputError(
            f"steps is {steps}, and the rule of {artifact} was chosen for at most {found.timesteps}. Leave --steps "
            f"out, or choose one for them: tks-edge calibrate-exit {artifact} --run RUN --timesteps {steps}"
        )
    return found
