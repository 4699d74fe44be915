"""Recordings of event cameras, from files.

| ending | format | sensor |
|---|---|---|
| `.npy` | a structured array with the fields x, y, t, p (t in whole microseconds, p 0 or 1) | not said |
| `.npz` | the arrays x, y, t, p and, where known, width and height | said by width and height |
| `.bin` | N-MNIST and N-Caltech101: five bytes an event | not said |
| `.aedat` | AEDAT 2.0 of a DVS128, as jAER records it | 128x128 |
| `.aedat4` | AEDAT 4 of iniVation's cameras | said |
| `.raw` | EVT 2.0 and 3.0 of Prophesee's cameras | said by most |
| `.dat` | DAT of Prophesee's cameras | said by most |

`.bin` is read by tonic, `.raw` and `.dat` by expelliarmus, which tonic brings, `.aedat4` by aedat. AEDAT 2.0 is read
here: tonic 1.7.0 fails on every file of it (`read_dvs_128` expects two of the three values that its header has).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tks_edge.data.event_frames import event_library
from tks_edge.data.events import EVENT, Recording, checked, structured
from tks_edge_runtime.errors import InputError, TksEdgeError

_FIELDS = ("x", "y", "t", "p")
_BIN_BYTES = 5
_DVS128 = 128


def read_recording(path: Path) -> Recording:
    """The recording in a file, whose ending says the format.

    Raises:
        InputError: the file cannot be read, is damaged, or holds no valid recording; see `events.checked`.
        MissingError: the library that reads such files is not installed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is no file of events. Read are {', '.join(EVENT_FORMATS)}.")
    try:
        recording = reader(path)
    except TksEdgeError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a damaged file can raise anything in the libraries that read it
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{path} is damaged, or no recording of events ({reason}). Copy it again.") from error
    return checked(recording, path)


def _npy(path: Path) -> Recording:
    array: Any = np.load(path, allow_pickle=False)
    if not set(_FIELDS) <= set(array.dtype.names or ()) or array.ndim != 1:
        raise ValueError(f"it must be one structured array with the fields {', '.join(_FIELDS)}")
    return Recording(structured(*(array[name] for name in _FIELDS)))


def _npz(path: Path) -> Recording:
    # Opened here: of an archive that is damaged NumPy would leave the file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        if missing := [name for name in _FIELDS if name not in archive]:
            raise ValueError(f"it holds no array {missing[0]}; it must hold {', '.join(_FIELDS)}")
        events = structured(*(archive[name] for name in _FIELDS))
        width, height = (int(archive[name]) if name in archive else None for name in ("width", "height"))
    return Recording(events, width, height)


def _bin(path: Path) -> Recording:
    _check_whole(path.stat().st_size, _BIN_BYTES)
    events: Any = event_library("tonic.io").read_mnist_file(
        path, dtype=np.dtype([(name, np.int64) for name in _FIELDS])
    )
    return Recording(structured(*(events[name] for name in _FIELDS)))


def _aedat2(path: Path) -> Recording:
    """Big-endian pairs of an address and a time; bit 15 of an address marks what is no pixel.

    Bits 1 to 7 count columns from the right and bits 8 to 14 rows from the bottom; bit 0 is set for OFF.
    """
    content = path.read_bytes()
    if not content.startswith(b"#!AER-DAT2.0"):
        raise ValueError("it does not begin with #!AER-DAT2.0")
    start = 0
    while content.startswith(b"#", start):
        start = content.index(b"\n", start) + 1
    _check_whole(len(content) - start, 8)
    address, time = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    if address.max(initial=0) > 0xFFFF:
        raise ValueError("its addresses are not those of a DVS128")
    pixel = address & 0x8000 == 0
    address = address[pixel]
    x, y = _DVS128 - 1 - (address >> 1 & 0x7F), _DVS128 - 1 - (address >> 8 & 0x7F)
    return Recording(structured(x, y, time[pixel], 1 - (address & 1)), _DVS128, _DVS128)


def _aedat4(path: Path) -> Recording:
    with path.open("rb"):  # says why a file cannot be opened
        pass
    decoder = event_library("aedat").Decoder(str(path))
    streams = sorted(number for number, stream in decoder.id_to_stream().items() if stream["type"] == "events")
    if not streams:
        raise ValueError("it has no stream of events")
    packets = [packet["events"] for packet in decoder if packet["stream_id"] == streams[0]]
    events = np.concatenate(packets) if packets else np.empty(0, EVENT)
    stream = decoder.id_to_stream()[streams[0]]
    fields = (events[name] for name in ("x", "y", "t", "on" if packets else "p"))
    return Recording(structured(*fields), stream["width"], stream["height"])


def _prophesee(path: Path) -> Recording:
    header = _percent_header(path)
    encoding = "dat" if path.suffix.lower() == ".dat" else _evt_version(header)
    body = path.stat().st_size - len(header) - (2 if encoding == "dat" else 0)
    _check_whole(body, {"dat": 8, "evt2": 4, "evt3": 2}[encoding])
    events = event_library("expelliarmus").Wizard(encoding=encoding).read(path)
    found = np.empty(0, EVENT) if events is None else structured(*(events[name] for name in _FIELDS))
    return Recording(found, *_geometry(header.decode("ascii", "replace")))


def _percent_header(path: Path) -> bytes:
    """The lines at the beginning that begin with a percent sign."""
    header = b""
    with path.open("rb") as file:
        while (line := file.readline(4096)).startswith(b"%"):
            header += line
            if line.split() == [b"%", b"end"]:
                break
    return header


def _evt_version(header: bytes) -> str:
    if re.search(rb"% evt 3|EVT3", header):
        return "evt3"
    if re.search(rb"% evt 2\.0|EVT2(?!1)", header):
        return "evt2"
    raise ValueError("its header names neither EVT 2.0 nor EVT 3.0, which are read")


def _geometry(header: str) -> tuple[int | None, int | None]:
    """Width and height, in any of the three ways in which headers say them."""
    if found := re.search(r"geometry\s+(\d+)x(\d+)", header):
        return int(found[1]), int(found[2])
    sizes = [re.search(rf"{name}[ =](\d+)", header, re.IGNORECASE) for name in ("width", "height")]
    width, height = (int(size[1]) if size else None for size in sizes)
    return width, height


def _check_whole(size: int, event: int) -> None:
    if size % event:
        raise ValueError(f"its last event is cut off: {size} bytes are no multiple of {event}")


_READERS: dict[str, Callable[[Path], Recording]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".bin": _bin,
    ".aedat": _aedat2,
    ".aedat4": _aedat4,
    ".raw": _prophesee,
    ".dat": _prophesee,
}
EVENT_FORMATS = tuple(_READERS)
"""The endings of the files that `read_recording` reads."""
SAY_THEIR_SENSOR = (".aedat", ".aedat4")
"""Of these, the ones of files that always say how large the sensor is."""
