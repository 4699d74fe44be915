"""Files of events in each format: what was recorded is what is read, and what is damaged is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tks_edge.event_writers import (
    aedat4,
    random_events,
    write,
    write_aedat2,
    write_bin,
    write_evt2,
    write_npz,
)
from tks_edge.data.event_files import EVENT_FORMATS, read_recording
from tks_edge.data.event_frames import event_library
from tks_edge.data.events import EVENT, Events, structured
from tks_edge_runtime.errors import InputError, MissingError

_EVT2 = "% evt 2.0\n% geometry 640x480\n"


def _by_prophesee(encoding: str) -> Callable[[Path, Events], None]:
    def written(path: Path, events: Events) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        event_library("expelliarmus").Wizard(encoding=encoding).save(str(path), events)

    return written


def _npy(path: Path, events: Events) -> None:
    np.save(path, events)


FORMATS = [
    ("a.npy", _npy, (None, None)),
    ("a.npz", write_npz, (None, None)),
    ("b.npz", lambda path, events: write_npz(path, events, width=320, height=240), (320, 240)),
    ("a.bin", write_bin, (None, None)),
    ("a.aedat", write_aedat2, (128, 128)),
    ("a.raw", lambda path, events: write_evt2(path, events, _EVT2), (640, 480)),
    ("b.raw", _by_prophesee("evt3"), (None, None)),
    ("a.dat", _by_prophesee("dat"), (None, None)),
]


@pytest.mark.parametrize(("name", "written", "sensor"), FORMATS)
def test_what_was_written_is_read(
    name: str, written: Callable[[Path, Events], None], sensor: tuple[int | None, int | None], tmp_path: Path
) -> None:
    events = random_events(0)
    path = tmp_path / name
    written(path, events)
    recording = read_recording(path)
    assert recording.events.dtype == EVENT
    assert np.array_equal(recording.events, events)
    assert (recording.width, recording.height) == sensor


def test_aedat_4_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(aedat4())
    recording = read_recording(path)
    i = np.arange(10)
    assert np.array_equal(recording.events, structured(i, 2 * i, 1000 + 100 * i, i % 2))
    assert (recording.width, recording.height) == (128, 128)


def test_every_format_is_tried_here() -> None:
    assert {Path(name).suffix for name, _, _ in FORMATS} | {".aedat4"} == set(EVENT_FORMATS)


@pytest.mark.parametrize(("name", "written", "sensor"), FORMATS)
def test_a_file_that_was_cut_off_is_named(
    name: str, written: Callable[[Path, Events], None], sensor: object, tmp_path: Path
) -> None:
    path = tmp_path / name
    written(path, random_events(0))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=name):
        read_recording(path)


@pytest.mark.parametrize("kept", [0, 10, 200, 559])
def test_an_aedat_4_file_that_was_cut_off_is_named(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    path.write_bytes(aedat4()[:kept])
    with pytest.raises(InputError, match=r"a\.aedat4"):
        read_recording(path)


@pytest.mark.parametrize("ending", EVENT_FORMATS)
@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"#!AER-DAT2.0\r\n#", b"% evt 2.0\n"])
def test_what_is_no_recording_is_named(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"odd{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"odd{ending}"):
        read_recording(path)


def _events(**fields: list[int]) -> Events:
    filled = {"x": [1, 2, 3], "y": [1, 2, 3], "t": [0, 5000, 9000], "p": [0, 1, 0]} | fields
    return structured(*filled.values())


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (_events(t=[0, 9000, 5000]), "the time runs back by 4000 microseconds at event 2"),
        (_events(x=[1, 2, -3]), "x = -3"),
        (_events(x=[1, 320, 3]), "x = 320; it must be from 0 to 319"),
        (_events(y=[1, 240, 3]), "y = 240; it must be from 0 to 239"),
        (_events(p=[0, 2, 0]), "p = 2; it must be from 0 to 1"),
        (np.empty(0, EVENT), "holds no events"),
    ],
)
def test_events_that_cannot_be_are_refused(events: Events, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, events, width=320, height=240)
    with pytest.raises(InputError) as error:
        read_recording(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_neighbours_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, _events(t=[0, 9000, 8500]))
    events = read_recording(path).events
    assert events["t"].tolist() == [0, 8500, 9000]
    assert events["x"].tolist() == [1, 3, 2]


def test_times_in_seconds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=[1, 2], y=[1, 2], t=[0.25, 0.5], p=[0, 1])
    with pytest.raises(InputError, match="t holds more than whole numbers"):
        read_recording(path)


def test_an_unknown_ending_is_refused_and_those_that_are_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.npy, \.npz, \.bin, \.aedat, \.aedat4, \.raw, \.dat"):
        read_recording(tmp_path / "a.txt")


def test_other_addresses_than_a_dvs128_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    write(path, b"#!AER-DAT2.0\r\n" + (1 << 22).to_bytes(4, "big") + bytes(4))
    with pytest.raises(InputError, match="not those of a DVS128"):
        read_recording(path)


@pytest.mark.parametrize(("name", "library"), [("a.bin", "tonic.io"), ("a.aedat4", "aedat"), ("a.dat", "expelliarmus")])
def test_a_library_that_is_missing_is_named(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if name == "a.bin":
        write_bin(path, random_events(0))
    elif name == "a.aedat4":
        path.write_bytes(aedat4())
    else:
        _by_prophesee("dat")(path, random_events(0))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingError, match=r"pip install '\.\[train,events\]'"):
        read_recording(path)
