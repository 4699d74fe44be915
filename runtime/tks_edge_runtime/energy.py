"""What an inference costs in energy: a meter's joules, given to sessions by their blocks, less what idling takes."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Literal, Protocol

BLOCK_SECONDS = 0.5
"""The least length of a block whose energy is read: a sensor of power is read every 50 ms, so that the part of a block
that it may miss at either end is a tenth of it."""
IDLE_SECONDS = 2.0
"""How long the idle power is measured, in s."""
_SPREAD_LIMIT = 0.25

Covers = Literal["board", "processor", "gpu", "part"]
"""What a source measures: all that the board or module draws, a processor, a discrete GPU, or a part of these."""
BOARD: Covers = "board"
PROCESSOR: Covers = "processor"
GPU: Covers = "gpu"
PART: Covers = "part"


class Source(Protocol):
    """One sensor or counter: its name, and what it takes in, in words ("module rail VDD_IN, not wall")."""

    @property
    def name(self) -> str:
        """What it is called in readings."""

    @property
    def label(self) -> str:
        """What its joules are of, in words."""

    @property
    def covers(self) -> Covers:
        """What its joules are of."""


class Meter(Protocol):
    """What this machine can say about its energy, once it is entered."""

    @property
    def sources(self) -> Sequence[Source]:
        """Every source that can be read here; none where nothing can."""

    def read(self) -> dict[str, float]:
        """The joules since the meter was entered, by the name of the source."""

    def mean_watts(self, seconds: float) -> dict[str, float]:
        """The mean power over the next seconds, in which the caller does nothing, by the name of the source."""


@dataclass(frozen=True)
class EnergyUse:
    """What one run of one batch took, by one source.

    Attributes:
        source: the source's name.
        label, covers: what its joules are of, in words and for a program.
        mj: mJ of one run, idle power subtracted: all blocks together. Less than 0 where idling took more.
        spread_mj: the standard deviation of that over the blocks; None where there was one.
        blocks: how many there were.
        watts: the mean power while the session ran, in W, idle included.
        idle_watts: the mean power before the warm-up, in W.
    """

    source: str
    label: str
    covers: Covers
    mj: float
    spread_mj: float | None
    blocks: int
    watts: float
    idle_watts: float


@dataclass(frozen=True)
class _Block:
    joules: dict[str, float]
    seconds: float
    runs: int


@dataclass
class BlockCount:
    """How many runs a block had: to be filled in before it ends."""

    runs: int = 0


@dataclass
class EnergyLog:
    """The energy of one session, block by block; without a meter it records nothing.

    Attributes:
        meter: what is read.
        idle_watts: the mean power of each source while nothing ran, in W.
    """

    meter: Meter | None
    idle_watts: dict[str, float]
    _blocks: list[_Block] = field(default_factory=list)

    @contextlib.contextmanager
    def block(self) -> Iterator[BlockCount]:
        """Read the meter before and after what runs inside."""
        count = BlockCount()
        if self.meter is None:
            yield count
            return
        before, start = self.meter.read(), perf_counter_ns()
        yield count
        after, end = self.meter.read(), perf_counter_ns()
        joules = {name: after[name] - before[name] for name in after.keys() & before.keys()}
        self._blocks.append(_Block(joules, (end - start) / 1e9, count.runs))

    def uses(self) -> tuple[EnergyUse, ...]:
        """What a run took by each source that could be read throughout."""
        if self.meter is None or not self._blocks:
            return ()
        return tuple(
            self._use(source, self.idle_watts[source.name])
            for source in self.meter.sources
            if source.name in self.idle_watts and all(source.name in block.joules for block in self._blocks)
        )

    def _use(self, source: Source, idle: float) -> EnergyUse:
        net = [block.joules[source.name] - idle * block.seconds for block in self._blocks]
        each = [1000 * joules / block.runs for joules, block in zip(net, self._blocks, strict=True)]
        return EnergyUse(
            source=source.name,
            label=source.label,
            covers=source.covers,
            mj=1000 * sum(net) / sum(block.runs for block in self._blocks),
            spread_mj=statistics.stdev(each) if len(each) > 1 else None,
            blocks=len(each),
            watts=sum(b.joules[source.name] for b in self._blocks) / sum(b.seconds for b in self._blocks),
            idle_watts=idle,
        )


def energy_doubts(uses: Iterable[EnergyUse]) -> Iterator[str]:
    """Say in sentences which energies are too uncertain to rely on."""
    for use in uses:
        if use.mj <= 0:
            yield (
                f"energy ({use.label}): no more than idling took ({use.idle_watts:.3g} W); nothing else may run while "
                "the idle power is measured, before the warm-up"
            )
        elif use.spread_mj is not None and use.spread_mj > _SPREAD_LIMIT * use.mj:
            yield (
                f"energy ({use.label}) varies: standard deviation {use.spread_mj / use.mj:.0%} of the mean over "
                f"{use.blocks} blocks (more than {_SPREAD_LIMIT:.0%})"
            )
