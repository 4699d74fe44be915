"""Sets of recordings in their original formats: how they are divided and cut, and what is said where they lack."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tks_edge.event_writers import (
    random_events,
    write,
    write_aedat2,
    write_bin,
    write_dvs_cifar10,
    write_npz,
)
from tks_edge.data import dvs_cifar10, ncaltech101
from tks_edge.data.event_download import Archive
from tks_edge.data.event_frames import Cutter
from tks_edge.data.events import structured
from tks_edge.data.loading import evaluation_batches
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge.settings import FrameSettings
from tks_edge_runtime.errors import InputError, MissingError

# From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

_CIFAR = tuple(dvs_cifar10._ARCHIVES)
_CALTECH = ("BACKGROUND_Google", "accordion", "zebra")


def write_cifar(base: Path, each: int = 20) -> None:
    for label, name in enumerate(_CIFAR):
        for index in range(each):
            write_dvs_cifar10(base / name / f"cifar10_{name}_{index}.aedat", random_events(100 * label + index, 50))


def write_caltech(base: Path, each: int = 20) -> None:
    for label, name in enumerate(_CALTECH):
        for index in range(1, each + 1):
            events = random_events(100 * label + index, 50, width=200, height=150)
            write_bin(base / name / f"image_{index:04}.bin", events)


def write_folder(base: Path, each: int = 8) -> None:
    for label, name in enumerate(("left", "right")):
        for index in range(each):
            write_npz(base / name / f"{index}.npz", random_events(100 * label + index, 50, width=64, height=48))


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sets, complete with 20 recordings of each class, of three classes of Caltech101."""
    monkeypatch.setattr(dvs_cifar10, "_EACH", 20)
    monkeypatch.setattr(ncaltech101, "_RECORDINGS", 60)
    monkeypatch.setattr(ncaltech101, "_CLASSES", 3)


SETS = [
    ("dvs-cifar10", write_cifar, (162, 18, 20), 10),
    ("ncaltech101", write_caltech, (49, 5, 6), 3),
    ("event-folder", write_folder, (11, 2, 3), 2),
]


@pytest.mark.usefixtures("small_sets")
@pytest.mark.parametrize("cut", ["time", "events"])
@pytest.mark.parametrize(("name", "written", "sizes", "classes"), SETS)
def test_a_set_is_opened_cut_and_opened_again(
    name: str,
    written: Callable[[Path], None],
    sizes: tuple[int, int, int],
    classes: int,
    cut: str,
    tmp_path: Path,
) -> None:
    written(tmp_path)
    dataset = open_dataset(name, tmp_path, image_size=16, timesteps=5, frames=FrameSettings(cut=cut))
    assert tuple(len(split) for split in dataset.splits().values()) == sizes
    assert len(dataset.classes) == classes
    assert (dataset.timesteps, dataset.cut, dataset.in_channels, dataset.image_size) == (5, cut, 2, 16)
    assert (dataset.mean, dataset.std, dataset.preprocessing) == ((0, 0), (1 / 255, 1 / 255), None)
    assert "at most" in dataset.notes[0]
    samples, _ = next(evaluation_batches(dataset.test, 3))
    assert samples.shape == (3, 5, 2, 16, 16)
    assert samples.dtype == torch.uint8
    assert samples.sum((1, 2, 3, 4)).tolist() == [50] * 3
    assert set(dataset.test.labels) == set(range(classes))
    for fewer in (1, 2):
        again, _ = next(evaluation_batches(dataset.test.rebinned(fewer), 3))
        assert torch.equal(again.sum(1), samples.sum(1))
    assert torch.equal(dataset.train.original(0), dataset.train[0][0])
    record = describe(dataset)
    assert describe(reopen(record)) == record
    assert torch.equal(reopen(record).test[0][0], dataset.test[0][0])


@pytest.mark.usefixtures("small_sets")
def test_the_last_tenth_of_each_class_tests_in_the_order_of_numbers(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    dataset = open_dataset("dvs-cifar10", tmp_path)
    names = {dataset.test.samples.name(index) for index in dataset.test.indices}
    assert names == {f"{name}/cifar10_{name}_{index}.aedat" for name in _CIFAR for index in (18, 19)}
    assert not set(dataset.train.indices) & set(dataset.validation.indices)


@pytest.mark.usefixtures("small_sets")
def test_cifar10_dvs_stands_upright(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    events = random_events(0, 50)
    dataset = open_dataset("dvs-cifar10", tmp_path, image_size=128, timesteps=1)
    first = dataset.train.samples.original(0)
    assert np.array_equal(first.numpy(), Cutter(1, "time", 128).frames(events, 128, 128))


@pytest.mark.usefixtures("small_sets")
def test_recordings_of_ncaltech101_are_centred_and_scaled_alike(tmp_path: Path) -> None:
    write_caltech(tmp_path)
    box = structured([10, 109], [20, 59], [0, 1], [1, 1])  # 100 by 40 pixels
    write_bin(tmp_path / "accordion" / "image_0001.bin", box)
    frames = open_dataset("ncaltech101", tmp_path, image_size=240, timesteps=1).train.samples.original(20)
    assert frames[0, 1].nonzero().T.tolist() == [[100, 139], [70, 169]]


def test_what_is_missing_of_a_published_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError) as error:
        open_dataset("dvs-cifar10", tmp_path)
    said = str(error.value)
    assert f"{tmp_path / 'dvs-cifar10' / 'airplane'} holds 0 recordings" in said
    assert "cifar10_airplane_0.aedat to cifar10_airplane_999.aedat" in said
    assert "712 MB, MD5 0afd5c4bf9ae06af762a77b180354fdd" in said
    monkeypatch.setattr(dvs_cifar10, "_EACH", 20)
    write_cifar(tmp_path)
    (tmp_path / "frog" / "cifar10_frog_7.aedat").unlink()
    with pytest.raises(MissingError, match=r"frog holds 19 recordings.*1 of 10 classes are incomplete \(frog\)"):
        open_dataset("dvs-cifar10", tmp_path)
    with pytest.raises(
        MissingError, match=r"expected 8,709 in 101, BACKGROUND_Google.*66201824eabb0239c7ab992480b50ba3"
    ):
        open_dataset("ncaltech101", tmp_path / "elsewhere")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a site with the files of this folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("small_sets")
def test_what_is_missing_is_fetched_when_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, base = tmp_path / "site", tmp_path / "data"
    write_cifar(site)
    with served(site) as url:
        _fetched(site, base, url, monkeypatch)


def _fetched(site: Path, base: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _CIFAR:
        with zipfile.ZipFile(site / f"{name}.zip", "w") as archive:
            for path in (site / name).iterdir():
                archive.write(path, f"{name}/{path.name}")
        md5 = hashlib.md5((site / f"{name}.zip").read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(dvs_cifar10._ARCHIVES, name, Archive(f"{name}.zip", f"{url}/{name}.zip", md5))
    dataset = open_dataset("dvs-cifar10", base, image_size=16, download=True)
    assert len(dataset.test) == 20
    assert not list((base / "dvs-cifar10").glob("*.zip"))
    monkeypatch.setitem(dvs_cifar10._ARCHIVES, "bird", Archive("bird.zip", f"{url}/bird.zip", "0" * 32))
    (base / "dvs-cifar10" / "bird" / "cifar10_bird_0.aedat").unlink()
    with pytest.raises(MissingError, match=r"bird\.zip could not be fetched and unpacked .* MD5 0000"):
        open_dataset("dvs-cifar10", base, image_size=16, download=True)


def test_too_little_room_for_the_archives_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, archive in dvs_cifar10._ARCHIVES.items():
        huge = Archive(archive.name, "file:///nowhere", archive.md5, 10**9)
        monkeypatch.setitem(dvs_cifar10._ARCHIVES, name, huge)
    with pytest.raises(MissingError, match="the archives alone take"):
        open_dataset("dvs-cifar10", tmp_path, download=True)


def test_a_folder_may_be_divided_and_mix_formats(tmp_path: Path) -> None:
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", each=3)
    write_aedat2(tmp_path / "train" / "left" / "dvs128.aedat", random_events(7, 50))
    dataset = open_dataset("event-folder", tmp_path, image_size=16)
    assert [len(split) for split in dataset.splits().values()] == [15, 2, 6]
    assert dataset.test.folder == "test"


def test_files_without_a_sensor_share_the_smallest_that_holds_them_all(tmp_path: Path) -> None:
    write_folder(tmp_path)
    corner = structured([99, 0], [0, 0], [0, 1], [1, 1])
    write_npz(tmp_path / "left" / "0.npz", corner)
    dataset = open_dataset("event-folder", tmp_path, image_size=100, timesteps=1)
    samples = dataset.train.samples
    first = next(samples.original(i) for i in range(len(samples)) if samples.name(i) == "left/0.npz")
    # 100 by 48 pixels, 26 rows of padding above and below.
    assert first[0, 1].nonzero().T.tolist() == [[26, 26], [0, 99]]
    write_npz(tmp_path / "left" / "0.npz", structured([199, 0], [0, 0], [0, 1], [1, 1]))
    again = open_dataset("event-folder", tmp_path, image_size=100, timesteps=1).train.samples
    other = next(again.original(i) for i in range(len(again)) if again.name(i) == "right/0.npz")
    assert not other[:, :, :, 32:].any()


def test_a_damaged_recording_is_named_when_it_is_used(tmp_path: Path) -> None:
    write_folder(tmp_path)
    write(tmp_path / "left" / "3.npz", b"damaged")
    samples = open_dataset("event-folder", tmp_path, image_size=16).train.samples
    names = [samples.name(index) for index in range(len(samples))]
    with pytest.raises(InputError, match=r"left/3\.npz is damaged, or no recording of events"):
        samples.original(names.index("left/3.npz"))
    assert samples.original(names.index("left/4.npz")).sum() == 50


def test_tonic_is_missed_before_a_training_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    monkeypatch.setitem(sys.modules, "tonic.transforms", None)
    with pytest.raises(MissingError, match=r"need tonic .* pip install '\.\[train,events\]'"):
        open_dataset("event-folder", tmp_path)


def test_processes_that_load_give_the_same_as_none(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = open_dataset("event-folder", tmp_path, image_size=16)
    by_two = [samples for samples, _ in evaluation_batches(dataset.train, 2, workers=2)]
    alone = [samples for samples, _ in evaluation_batches(dataset.train, 2)]
    assert torch.equal(torch.cat(by_two), torch.cat(alone))


def test_what_is_no_folder_of_recordings_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        open_dataset("event-folder", tmp_path / "nowhere")
    (tmp_path / "left").mkdir()
    (tmp_path / "right").mkdir()
    with pytest.raises(InputError, match=r"holds no recording \(\.npy, \.npz, \.bin"):
        open_dataset("event-folder", tmp_path)
