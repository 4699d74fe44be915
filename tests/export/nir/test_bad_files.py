"""Files that are no network of NIR: one clear error each, and no memory filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.export.nir.files import HARD, chain, lif, linear
from tks_edge_export.nir_graphs import NirError, document, read_nir
from tks_edge_runtime.errors import MissingError


def _replaced(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def _huge(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0"].create_dataset("weight", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))


def _elsewhere(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0/weight"] = h5py.ExternalLink("/etc/hosts", "/")


def _virtual(file: h5py.File) -> None:
    del file["node/nodes/n0/weight"]
    layout = h5py.VirtualLayout((3, 6), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 6))
    file["node/nodes/n0"].create_virtual_dataset("weight", layout)


def _circle(file: h5py.File) -> None:
    file["node/nodes/n0/again"] = file["node/nodes"]


DAMAGE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "an unknown node": (lambda f: _replaced(f, "node/nodes/n1/type", b"Izhikevich"), "'n1' of the type 'Izhikevich'"),
    "no type": (lambda f: f["node/nodes/n1"].pop("type"), "'n1' of the type ''"),
    "no constants": (lambda f: f["node/nodes/n1"].pop("tau"), "at the node 'n1'.*'tau'"),
    "an edge to nowhere": (
        lambda f: _replaced(f, "node/edges", np.array([[b"input", b"n7"]])),
        "the edge input -> n7.*no node 'n7'",
    ),
    "edges of three": (lambda f: _replaced(f, "node/edges", np.array([[b"input", b"n0", b"n1"]])), "cannot be read"),
    "edges of numbers": (lambda f: _replaced(f, "node/edges", np.array([[1, 2]])), "cannot be read"),
    "no nodes": (lambda f: f["node"].pop("nodes"), "cannot be read"),
    "no graph": (lambda f: f.pop("node"), "holds no node"),
    "a shape of nothing": (lambda f: _replaced(f, "node/nodes/input/shape", np.array([0])), "'input'.*its shape"),
    "an absurd input": (lambda f: _replaced(f, "node/nodes/input/shape", np.array([10**6] * 3)), "'input'.*memory"),
    "a weight of 10^12": (_huge, "1000000, 1000000.*n0/weight"),
    "a link to another file": (_elsewhere, "links to something else at '/node/nodes/n0/weight'"),
    "an array in another file": (_virtual, "in another file"),
    "a graph in itself": (_circle, "nested deeper|more than"),
    "words for weights": (lambda f: _replaced(f, "node/nodes/n0/weight", b"weights"), "at the node 'n0'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file(tmp_path: Path, damage: str) -> None:
    path = chain(tmp_path / "model.nir", linear(6, 3), lif(3))
    change, message = DAMAGE[damage]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(NirError, match=message):
        read_nir(path, HARD)


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"weights", "is no HDF5 file")])
def test_what_is_no_hdf5(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.nir"
    path.write_bytes(content)
    with pytest.raises(NirError, match=message):
        read_nir(path, HARD)


def test_a_file_that_is_cut_off_or_not_there(tmp_path: Path) -> None:
    path = chain(tmp_path / "model.nir", linear(6, 3), lif(3))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(NirError, match="cannot be read as NIR"):
        read_nir(path, HARD)
    with pytest.raises(NirError, match="there is no file"):
        read_nir(tmp_path / "other.nir", HARD)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashes on it"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "when memory runs out"),
    ],
)
def test_a_file_that_the_library_crashes_on_does_not_take_the_process_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, message: str
) -> None:
    path = chain(tmp_path / "model.nir", linear(6, 3), lif(3))
    crashing = tmp_path / "probe.py"
    crashing.write_text(f"import os, signal\n{ending}\n")
    monkeypatch.setattr(document, "_PROGRAM", crashing)
    with pytest.raises(NirError, match=message):
        read_nir(path, HARD)


def test_without_the_library_in_a_process_of_its_own_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = chain(tmp_path / "model.nir", linear(6, 3), lif(3))
    without = tmp_path / "probe.py"
    without.write_text(
        f"import sys\nsys.modules['h5py'] = None\n{document._PROGRAM.read_text().partition('annotations')[2]}"
    )
    monkeypatch.setattr(document, "_PROGRAM", without)
    with pytest.raises(MissingError, match="does not find h5py"):
        read_nir(path, HARD)


def test_the_library_may_lie_outside_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chain(tmp_path / "model.nir", linear(6, 3), lif(3))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "only_here.py").touch()
    looking = tmp_path / "probe.py"
    looking.write_text(document._PROGRAM.read_text().replace("import h5py", "import only_here"))
    monkeypatch.setattr(document, "_PROGRAM", looking)
    monkeypatch.syspath_prepend(str(elsewhere))
    document.load(path)
    monkeypatch.undo()
    monkeypatch.setattr(document, "_PROGRAM", looking)
    with pytest.raises(MissingError):
        document.load(path)
