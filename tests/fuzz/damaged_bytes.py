"""Damage that knows nothing of the file: what disks, cables and interrupted copies do."""

from __future__ import annotations

from pathlib import Path
from random import Random

import onnx

from tests.fuzz.case import Case, Damage

_SMALL = 256
"""Bytes of a tensor that a flip may hit as often as the structure around it; larger ones it hits seldom."""


def _structure(path: Path, data: bytes) -> list[range]:
    """Where the file holds something else than weights: flips there decide what is read, flips in weights nothing."""
    if path.suffix != ".onnx":
        return [range(len(data))]
    found, begin = [], 0
    for tensor in onnx.load(path).graph.initializer:
        if len(tensor.raw_data) > _SMALL:
            start = data.index(tensor.raw_data, begin)
            found.append(range(begin, start))
            begin = start + len(tensor.raw_data)
    return [*found, range(begin, len(data))]


def _place(path: Path, data: bytes, chance: Random) -> int:
    regions = [region for region in _structure(path, data) if region]
    (region,) = chance.choices(regions, weights=[len(region) for region in regions])
    return chance.choice(region)


def _flip(path: Path, chance: Random, count: int) -> None:
    data = bytearray(path.read_bytes())
    places = [_place(path, bytes(data), chance) for _ in range(count)]
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def one_bit(case: Case) -> None:
    _flip(case.path, case.chance, 1)


def some_bits(case: Case) -> None:
    _flip(case.path, case.chance, case.chance.randint(2, 30))


def a_byte_of_a_length(case: Case) -> None:
    """Another byte, of those that make lengths and numbers large or negative."""
    data = bytearray(case.path.read_bytes())
    place = _place(case.path, bytes(data), case.chance)
    data[place] = case.chance.choice((0x00, 0x7F, 0x80, 0xFF))
    case.path.write_bytes(data)


def truncated(case: Case) -> None:
    data = case.path.read_bytes()
    case.path.write_bytes(data[: case.chance.randrange(len(data))])


def spliced(case: Case) -> None:
    """The beginning of one artifact, the end of another."""
    first, second = case.path.read_bytes(), case.other.read_bytes()
    case.path.write_bytes(first[: case.chance.randrange(len(first))] + second[case.chance.randrange(len(second)) :])


def a_piece_moved(case: Case) -> None:
    """A piece cut out, or copied, or zeroed, or put elsewhere."""
    data, chance = case.path.read_bytes(), case.chance
    start = _place(case.path, data, chance)
    end, target = min(len(data), start + chance.randint(1, 400)), _place(case.path, data, chance)
    piece, rest = data[start:end], data[:start] + data[end:]
    case.path.write_bytes(
        chance.choice(
            (
                rest,
                data[:target] + piece + data[target:],
                rest[:target] + piece + rest[target:],
                data[:start] + bytes(end - start) + data[end:],
            )
        )
    )


def no_onnx_at_all(case: Case) -> None:
    chance = case.chance
    case.path.write_bytes(chance.choice((b"", chance.randbytes(chance.randint(1, 3000)), b"\xff" * 2000, b"\x7f" * 99)))


DAMAGES: tuple[Damage, ...] = (
    one_bit,
    some_bits,
    a_byte_of_a_length,
    truncated,
    spliced,
    a_piece_moved,
    no_onnx_at_all,
)
