"""The kinds of options that a loss may have, and how each is read from text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

OptionValue: TypeAlias = float | str | bool


@dataclass(frozen=True)
class Number:
    """An option that is a number, from `low` to `high`."""

    low: float
    high: float = math.inf

    def parse(self, text: str) -> float:
        """The number that `text` stands for; ValueError says what is allowed."""
        upper = "" if math.isinf(self.high) else f" and at most {self.high:g}"
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (self.low <= number <= self.high and math.isfinite(number)):
            raise ValueError(f"a number of at least {self.low:g}{upper}")
        return number


@dataclass(frozen=True)
class Choice:
    """An option that is one of a few words."""

    values: Mapping[str, OptionValue]

    def parse(self, text: str) -> OptionValue:
        """The value that the word `text` stands for; ValueError says what is allowed."""
        if text not in self.values:
            raise ValueError(" or ".join(self.values))
        return self.values[text]


Option: TypeAlias = Number | Choice


def words(*allowed: str) -> Choice:
    """An option that is one of these words."""
    return Choice({word: word for word in allowed})


def yes_or_no() -> Choice:
    """An option that is on or off."""
    return Choice({"yes": True, "no": False})
