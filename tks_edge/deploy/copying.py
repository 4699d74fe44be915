"""Files onto a board: only those that it does not have, each going on where a broken connection left it.

A file is sent as a stream into `cat >> FILE.partial` and renamed when its SHA-256 is right. That needs nothing on the
board but `sh` and coreutils (no rsync; no SFTP subsystem, which small SSH servers lack; `scp` cannot resume), it goes
on at a byte, and one channel of the open connection does it. The partial file's name carries the checksum of what it
becomes, so that the rest of one file is never glued to the beginning of another.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tks_edge.deploy.payload import SUMS, PayloadFile, checksums
from tks_edge.deploy.ssh import Connection
from tks_edge.deploy.ssh_errors import DroppedError
from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError

_CHUNK = 1 << 18
PAUSES = (1.0, 2.0, 4.0)
"""Before connecting again, in s; after as many attempts that brought nothing the copy ends."""

_CUT_SHORT, _DAMAGED, _FULL, _MOVED = 71, 72, 73, 74


@dataclass
class Copied:
    """What was copied: the paths of the files sent, those that went on from a byte above 0, and how many were there."""

    sent: list[str] = field(default_factory=list)
    resumed: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    bytes: int = 0


class Copier:
    """Copies into one folder of a board.

    Args:
        connection: to the board.
        enter: shell lines that go into the folder.
        on_progress: gets the number of bytes that arrived since the last call (negative, where they have to go again).
        on_drop: told in words that the connection broke and is being made again.
    """

    def __init__(
        self,
        connection: Connection,
        enter: str,
        *,
        on_progress: Callable[[int], None] = lambda _: None,
        on_drop: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._enter = enter
        self._on_progress = on_progress
        self._on_drop = on_drop

    def missing(self, files: Sequence[PayloadFile]) -> list[tuple[PayloadFile, int]]:
        """The files that the board does not have, each with how many of its bytes are there already."""
        script = f"""{self._enter}
while IFS= read -r path && IFS= read -r partial; do
  sum=-
  [ ! -f "$path" ] || sum=$(sha256sum <"$path" | cut -c 1-64)
  have=0
  [ ! -f "$partial" ] || have=$(wc -c <"$partial")
  printf '%s %s\\n' "$sum" "$((have))"
done
"""
        names = "".join(f"{file.path}\n{_partial(file)}\n" for file in files)
        done = self._connection.run(script, [names.encode()])
        lines = done.out.splitlines()
        if done.code or len(lines) != len(files):
            raise MissingError(f"cannot see what {self._connection.host} has already: {done.err.strip() or done.out}")
        found = [(line.split()[0], int(line.split()[1])) for line in lines]
        return [(file, have) for file, (sha256, have) in zip(files, found, strict=True) if sha256 != file.sha256]

    def room(self) -> int:
        """The bytes that are free where the folder is."""
        done = self._connection.run(f"{self._enter}\ndf -Pk . | tail -n 1\n")
        try:
            return int(done.out.split()[-3]) * 1024
        except (IndexError, ValueError) as error:
            raise MissingError(f"cannot see how much room {self._connection.host} has: {done.out}{done.err}") from error

    def copy(self, files: Sequence[PayloadFile]) -> Copied:
        """Bring the board's folder to hold these files; what an earlier copy brought and is not among them goes.

        Raises:
            MissingError: the disk is full, or the connection breaks again and again.
            InputError: the folder cannot be written to.
        """
        missing = self.missing(files)
        copied = Copied(unchanged=len(files) - len(missing))
        needed = sum(file.size - min(have, file.size) for file, have in missing)
        room = self.room()
        if needed > room:
            raise MissingError(
                f"the disk of {self._connection.host} is full: {needed / 1e6:.1f} MB are to be copied, "
                f"{room / 1e6:.1f} MB are free. Free some space there, or choose a --folder on another disk."
            )
        for file, have in missing:
            self._send(file, have, copied)
            copied.sent.append(file.path)
        self._tidy(files)
        return copied

    def _send(self, file: PayloadFile, have: int, copied: Copied) -> None:
        """Send one file, over as many connections as it takes while each brings something."""
        failures, again, found = 0, False, have
        self._on_progress(have)
        while True:
            have, before = found, copied.bytes
            if have:
                copied.resumed[file.path] = have
            try:
                if self._attempt(file, have, copied):
                    return
            except DroppedError as error:
                there = self._after_drop(file, error, failures)
                if there is None:
                    return
                found, failures = there, 0 if there > have else failures + 1
            else:
                if again:
                    raise MissingError(
                        f"{file.path} arrives damaged at {self._connection.host}, or changes while it is copied. "
                        "Look at the board's storage, and run again."
                    )
                again, found = True, 0  # what lay there was of no use, and is gone
            self._on_progress(found - have - (copied.bytes - before))

    def _attempt(self, file: PayloadFile, have: int, copied: Copied) -> bool:
        """Send the bytes from `have` on; False where the file came together wrong and has to go again from 0."""
        partial, path = shlex.quote(_partial(file)), shlex.quote(file.path)
        folder = shlex.quote(file.path.rpartition("/")[0] or ".")
        script = f"""{self._enter}
mkdir -p -- {folder} || exit {_FULL}
have=0
[ ! -f {partial} ] || have=$(wc -c <{partial})
[ "$((have))" -eq {have} ] || {{ rm -f -- {partial}; exit {_MOVED}; }}
cat >>{partial} || {{ rm -f -- {partial}; exit {_FULL}; }}
have=$(wc -c <{partial})
# Where the connection broke, this is the end, and the next attempt goes on from here.
[ "$((have))" -ge {file.size} ] || exit {_CUT_SHORT}
[ "$(sha256sum <{partial} | cut -c 1-64)" = {file.sha256} ] || {{ rm -f -- {partial}; exit {_DAMAGED}; }}
{f"chmod +x {partial} || exit {_FULL}" if file.executable else ""}
mv -f -- {partial} {path} || exit {_FULL}
"""
        done = self._connection.run(script, self._chunks(file, have, copied))
        if done.code == _CUT_SHORT:
            raise InputError(f"{file.source} became shorter while it was copied. Run again when nothing writes to it.")
        if done.code in (_DAMAGED, _MOVED):
            return False
        if done.code:
            raise self._refused(file, done.err)
        return True

    def _chunks(self, file: PayloadFile, have: int, copied: Copied) -> Iterator[bytes]:
        with file.source.open("rb") as source:
            source.seek(have)
            while chunk := source.read(_CHUNK):
                yield chunk
                copied.bytes += len(chunk)
                self._on_progress(len(chunk))

    def _after_drop(self, file: PayloadFile, error: DroppedError, failures: int) -> int | None:
        """Connect again, with patience; how many bytes of the file are on the board then, None where it is whole."""
        for pause in PAUSES[failures:]:
            self._on_drop(f"the connection broke while copying {file.path}; connecting again")
            time.sleep(pause)
            try:
                self._connection.reopen()
                missing = self.missing([file])
            except MissingError:
                continue
            return missing[0][1] if missing else None
        raise error

    def _refused(self, file: PayloadFile, said: str) -> TksEdgeError:
        host = self._connection.host
        last = (said.strip() or "no reason given").splitlines()[-1]
        if any(words in said for words in ("No space left", "quota exceeded", "File too large", "size limit")):
            return MissingError(
                f"the disk of {host} is full: {file.path} did not fit ({file.size / 1e6:.1f} MB). Free some space "
                "there, or choose a --folder on another disk, and run the same command again."
            )
        if "Permission denied" in said or "Read-only" in said:
            return InputError(f"cannot write {file.path} on {host}: {last}. Choose another --folder.")
        return MissingError(f"cannot write {file.path} on {host}: {last}.")

    def _tidy(self, files: Sequence[PayloadFile]) -> None:
        """Leave a list of what is there, and remove what the last list names and this one does not."""
        script = f"""{self._enter}
cat >.{SUMS}.new || exit {_FULL}
rm -f artifacts/.*.partial wheels/.*.partial .*.partial
if [ -f {SUMS} ]; then
  cut -c 67- <{SUMS} | while IFS= read -r path; do
    case $path in
      */../* | ../* | /*) ;;
      *) cut -c 67- <.{SUMS}.new | grep -qxF -- "$path" || rm -f -- "$path" ;;
    esac
  done
fi
mv -f -- .{SUMS}.new {SUMS}
"""
        done = self._connection.run(script, [checksums(files).encode()])
        if done.code:
            raise MissingError(f"cannot write {SUMS} on {self._connection.host}: {done.err.strip()}")


def _partial(file: PayloadFile) -> str:
    folder, _, name = file.path.rpartition("/")
    return f"{folder}/.{name}.{file.sha256[:16]}.partial" if folder else f".{name}.{file.sha256[:16]}.partial"
