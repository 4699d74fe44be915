"""Golden pairs and evaluation sets that are damaged, lie about their size, or swell when they are unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.fuzz.case import Case, Damage
from tks_edge_runtime.artifact import METADATA_KEY, Artifact
from tks_edge_runtime.files import sha256_of

_BOMB = 1 << 28
"""Bytes that a bomb unpacks to: more than a case may take, and quickly made."""


def _some(case: Case) -> Path:
    return case.golden if case.chance.random() < 0.6 else case.evaluation


def _acknowledge(case: Case, before: str) -> None:
    """Let the manifest name the evaluation set as it is now: a damage that a sum alone does not give away."""
    data = case.path.read_bytes()
    case.path.write_bytes(data.replace(before.encode(), sha256_of(case.evaluation).encode()))


def some_bytes(case: Case) -> None:
    path, chance = _some(case), case.chance
    before, data = sha256_of(case.evaluation), bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 5, 40))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)
    _acknowledge(case, before)


def _header(shape: tuple[int, ...], dtype: str = "|u1", version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    written = buffer.getvalue()
    return written[:6] + bytes(version) + written[8:]


def _write(case: Case, path: Path, names: tuple[str, str], member: bytes, zeros: int) -> None:
    """An archive whose first array is `member`, followed by so many zeros."""
    before = sha256_of(case.evaluation)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{names[0]}.npy", "w", force_zip64=True) as file:
            file.write(member)
            for start in range(0, zeros, 1 << 24):
                file.write(bytes(min(1 << 24, zeros - start)))
        archive.writestr(f"{names[1]}.npy", _header((1, 3), "<f4") + bytes(12))
    _acknowledge(case, before)


def _chosen(case: Case) -> tuple[Path, tuple[str, str]]:
    path = _some(case)
    return path, ("input", "logits") if path == case.golden else ("inputs", "labels")


def a_bomb(case: Case) -> None:
    """A file that unpacks to a thousand times its size, with a header that says so or a shape that fits."""
    path, names = _chosen(case)
    batch = Artifact.open(case.path).manifest.batch.shape
    sample = int(np.prod(batch[1:]))
    shape = case.chance.choice(((_BOMB // sample, *batch[1:]), (_BOMB,), batch))
    _write(case, path, names, _header(shape), _BOMB)


def a_lying_header(case: Case) -> None:
    path, names = _chosen(case)
    chance = case.chance
    numbers: tuple[Any, ...] = (-1, 0, 1, 2**20, 2**31, 2**40, 2**62, 2**70)
    shape = tuple(chance.choice(numbers) for _ in range(chance.choice((1, 2, 4, 40))))
    dtype = chance.choice(("|u1", "<f4", "|O", "|V0", "|S0", "<U1000000", "<f16", "|b1", "<M8[s]", "nonsense"))
    _write(case, path, names, _header(shape, dtype, chance.choice(((1, 0), (2, 0), (3, 0), (9, 9)))), 64)


def another_content(case: Case) -> None:
    """Well-formed arrays, of another shape, type or name, NaN, or none."""
    path, names = _chosen(case)
    before, chance = sha256_of(case.evaluation), case.chance
    batch = Artifact.open(case.path).manifest.batch.shape
    arrays = {
        names[0]: chance.choice(
            (
                np.zeros((0, *batch[1:]), np.uint8),
                np.zeros((*batch, 2), np.uint8),
                np.full(batch, np.nan, np.float32),
                np.zeros((), np.uint8),
                np.zeros(batch, "U3"),
                np.zeros(batch, np.uint8),
                np.zeros(batch, [("a", "u1"), ("b", "f4")]),
            )
        ),
        chance.choice((names[1], names[1], "other")): chance.choice(
            (
                np.zeros(0, np.int64),
                np.full((1, 3), np.nan, np.float32),
                np.full(1, 2**62),
                np.array(["a"]),
                np.zeros((1, 3), np.complex64),
                np.zeros((9, 9, 9)),
            )
        ),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]
    _acknowledge(case, before)


def gone_or_something_else(case: Case) -> None:
    path, chance = _some(case), case.chance
    path.unlink()
    kind = chance.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        path.write_bytes(chance.randbytes(3000))
    elif kind == 3:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))


def names_of_other_files(case: Case) -> None:
    """A manifest that asks for files elsewhere."""
    model, name = onnx.load(case.path), case.chance.choice(("../x.npz", "/dev/zero", "/etc/passwd", "..", "", "a\x00b"))
    golden = case.golden.name
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = entry.value.replace(f'"{golden}"', f'"{name}"'.replace("\x00", "\\u0000"))
    onnx.save(model, case.path)


DAMAGES: tuple[Damage, ...] = (
    some_bytes,
    a_bomb,
    a_lying_header,
    another_content,
    gone_or_something_else,
    names_of_other_files,
)
