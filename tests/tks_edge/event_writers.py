"""Recordings in their original formats, written for tests from the descriptions of the formats."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import numpy as np

from tks_edge.data.events import EVENT, Events, structured


def random_events(seed: int, count: int = 200, width: int = 128, height: int = 128) -> Events:
    """Events within the sensor, in the order of time over about 100 ms."""
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 100_000, count))
    return structured(
        random.integers(0, width, count), random.integers(0, height, count), times, random.integers(0, 2, count)
    )


def write_aedat2(path: Path, events: Events) -> None:
    """AEDAT 2.0 of a DVS128: comment lines, then addresses and times as big-endian 32-bit words.

    Columns are counted from the right, rows from the bottom, and polarity is set for OFF.
    """
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
    body = b"".join(
        struct.pack(">II", (127 - int(e["y"])) << 8 | (127 - int(e["x"])) << 1 | (1 - int(e["p"])), int(e["t"]))
        for e in events
    )
    write(path, header + body)


def write_dvs_cifar10(path: Path, events: Events) -> None:
    """As `write_aedat2`, by a camera on its side: events of an upright picture have their axes exchanged."""
    turned = events.copy()
    turned["x"], turned["y"] = events["y"], events["x"]
    write_aedat2(path, turned)


def write_bin(path: Path, events: Events) -> None:
    """N-Caltech101: 40 bits an event: x, y, polarity, and 23 bits of time, big-endian."""
    body = b"".join(
        bytes((int(e["x"]), int(e["y"]))) + (int(e["p"]) << 23 | int(e["t"])).to_bytes(3, "big") for e in events
    )
    write(path, body)


def write_evt2(path: Path, events: Events, header: str) -> None:
    """EVT 2.0: 32-bit words; the upper 28 bits of a time come first, the lower 6 with each event."""
    words = []
    high = -1
    for event in events:
        time = int(event["t"])
        if time >> 6 != high:
            high = time >> 6
            words.append(0x8 << 28 | high)
        words.append(int(event["p"]) << 28 | (time & 0x3F) << 22 | int(event["x"]) << 11 | int(event["y"]))
    write(path, header.encode() + struct.pack(f"<{len(words)}I", *words))


def write_npz(path: Path, events: Events, **sensor: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: events[name] for name in EVENT.names or ()}, **sensor)  # type: ignore[arg-type]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def aedat4() -> bytes:
    """A file that dv-processing 2.0.4 wrote (MonoCameraWriter, DVS128, not compressed): ten events.

    Event i is at x = i, y = 2 i, t = 1000 + 100 i microseconds, ON where i is odd.
    """
    return zlib.decompress(base64.b85decode(_AEDAT4))


_AEDAT4 = (
    "c-oy*%}(1u5FQc}(uks}%Ap4i?!vK+UDQJlj@6W;A`&DLMEpoxtazcTCcD;p9hE*055NO(=!5hDdhP>M%&ylWGDby=H0$|1GvDm&"
    "dc5_vH#mIX?@c~-{FklmI=~wM7>@S_V59|Ya9|ypXyvkw`mdhbe`^3iyl@v(rcCfI+3ENsY`G`_7cq5tG^br6GBxBEg1AYfzIBOb"
    "v1dce;r@d_e>v2IM@mWeJH6_XshB5{rn)|H)m4H7sgjIel5jL04FXSxKAJ5gyJS3?9f&xa(Gk`!lN<;xcJaN8P9#%QK9O*osU%ZX"
    "gmgi<O8-NnQ~ETWN|vaK&UUj@iMbm`Dl#5dm~x#bunuD^&n_61Wzxa%<fxKh>26rnJ^CIiU1vq@l>MZqMM=gL2|w(7sw!8JclMk-"
    "k;&<U!|xv-J(3=Hy3M68atRl9;Khs34#F?gThv#m`s4r_I3*6QfGe1J`D5p#kbNhAu0RbH;Kt$_<VJfn$8}`U{vQ@Q$gJhJ#jD7!"
    "{hu2-ZkVYAxVCr=HjKZymgA<`CBV$$7x3En&+Y!dPI_O;``7-qiQa&B$nPN9gl$Ck{fG79FOf^pZ&BwCw4L#U"
)
