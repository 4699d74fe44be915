"""One connection to a board through the system's OpenSSH client, as the user has it set up.

Keys, agent, configuration, known hosts and jump hosts are the user's own; how host keys are checked is never changed.
One connection is opened and shared by everything that follows (OpenSSH's ControlMaster), so that a password or
passphrase is asked for once, by `ssh` itself, on the terminal.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from tks_edge.deploy.ssh_errors import DroppedError, explained
from tks_edge_runtime.errors import InputError, MissingError

SSH_FAILED = 255
"""The exit code of `ssh` itself; any other is that of the command on the board."""

# All that the login shell of the board ever sees, whichever it is: single quotes, and nothing in them that csh or fish
# read in their own way. The script comes over standard input, its length in bytes first, and what follows it there is
# the script's own standard input. Both `read` and `dd bs=1` take no byte too many from a pipe.
REMOTE_COMMAND = """exec sh -c 'IFS= read -r n; eval "$(dd bs=1 count="$n" 2>/dev/null)"'"""

_HOST_KEY_OPTIONS = {"stricthostkeychecking": ("yes", "ask"), "nohostauthenticationforlocalhost": ("no",)}
"""Options of how host keys are checked, and the values that do not weaken it."""


@dataclass(frozen=True)
class Result:
    """What a script on the board did: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


class Connection:
    """A connection to `host`; open it as a context.

    Args:
        host: as `ssh` takes it: a name of its configuration, HOST, USER@HOST or ssh://USER@HOST:PORT.
        options: as `ssh -o` takes them, NAME=VALUE; they win over the user's configuration.
        config: a configuration file in place of the user's and the system's.

    Raises:
        InputError: the host or an option is not one, the host key is unknown or another, the board refuses the user.
        MissingError: there is no `ssh` here, or the board cannot be reached.
    """

    def __init__(self, host: str, options: Iterable[str] = (), config: Path | None = None) -> None:
        if not host or host.startswith("-") or any(c.isspace() for c in host):
            raise InputError(f"{host!r} is not a host. Give USER@HOST, or a name from your SSH configuration.")
        program = shutil.which("ssh")
        if program is None:
            raise MissingError("there is no ssh on this machine. Install it: sudo apt install openssh-client")
        if config is not None and not config.is_file():
            raise InputError(f"{config} is not a file. Give an SSH configuration, or leave --ssh-config out.")
        self.host = host
        self._ssh = [program, *(["-F", str(config)] if config is not None else [])]
        self._options = [part for option in options for part in ("-o", _checked(option))]
        self._folder: Path | None = None

    def __enter__(self) -> Connection:
        # A socket's path has room for about a hundred bytes, which a long TMPDIR would fill.
        self._folder = Path(tempfile.mkdtemp(prefix="tks-", dir="/tmp"))
        try:
            self.reopen()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_master()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def reopen(self) -> None:
        """Connect, or connect again after the connection dropped."""
        self._close_master()
        # The master outlives this program only if that is killed, and then not for long.
        master = ["-M", "-N", "-f", "-o", "ControlPersist=60", *_batch_mode()]
        with tempfile.TemporaryFile() as err:
            # A file, not a pipe: the master goes to the background and would hold a pipe open.
            command = self._command(*master, "--", self.host)
            done = subprocess.run(  # noqa: S603 - the system's ssh
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, check=False
            )
            err.seek(0)
            said = err.read().decode(errors="replace")
        if done.returncode:
            raise explained(said, self.host)

    def run(self, script: str, data: Iterable[bytes] = (), *, on_line: Callable[[str], None] | None = None) -> Result:
        """Run a POSIX shell script on the board.

        Args:
            script: the script; whatever the login shell is, `sh` runs it.
            data: its standard input.
            on_line: gets each line of its standard output as it comes; then `Result.out` is empty.

        Raises:
            DroppedError: the connection broke.
        """
        with self.streaming(script, data) as stream:
            if on_line is None:
                out = stream.out.read().decode(errors="replace")
            else:
                out = ""
                for line in stream.out:
                    on_line(line.decode(errors="replace").rstrip("\r\n"))
        return Result(stream.code, out, stream.err)

    @contextlib.contextmanager
    def streaming(self, script: str, data: Iterable[bytes] = ()) -> Iterator[Stream]:
        """Run a script whose standard output is read as it comes, as bytes; see `run`."""
        token = secrets.token_hex(16)
        # Whatever the login shell prints when it starts ends at the token.
        body = os.fsencode(f"printf '\\n%s\\n' {token}\n{script}")
        with tempfile.TemporaryFile() as err:
            command = self._command("-o", "BatchMode=yes", "-T", "--", self.host, REMOTE_COMMAND)
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)  # noqa: S603
            assert process.stdin is not None  # noqa: S101 - both are pipes
            assert process.stdout is not None  # noqa: S101
            with process.stdout as out:
                try:
                    _feed(process.stdin, (f"{len(body)}\n".encode(), body), data)
                    for line in out:
                        if line.rstrip(b"\r\n") == token.encode():
                            break
                    stream = Stream(out)
                    yield stream
                    for _ in out:
                        pass  # what nobody read would keep the script from ending
                except BaseException:
                    process.kill()
                    raise
                finally:
                    process.wait()
            err.seek(0)
            stream.code, stream.err = process.returncode, err.read().decode(errors="replace")
        if stream.code == SSH_FAILED or stream.code < 0:
            raise DroppedError(self.host, stream.err)

    def _command(self, *arguments: str) -> list[str]:
        ours = ["-o", f"ControlPath={self._folder}/%C", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes"]
        # A board that vanishes is noticed after a minute, and one that does not answer at all.
        patience = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ConnectTimeout=30"]
        return [*self._ssh, *self._options, *ours, *patience, *arguments]

    def _close_master(self) -> None:
        if self._folder is not None and any(self._folder.iterdir()):
            command = self._command("-O", "exit", "--", self.host)
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603


@dataclass
class Stream:
    """A script that runs: its output, and when it has ended its exit code and what it wrote to standard error."""

    out: IO[bytes]
    code: int = 0
    err: str = ""


def _feed(pipe: IO[bytes], *parts: Iterable[bytes]) -> None:
    # A script that ends before it has read everything says why by its exit code.
    with contextlib.suppress(BrokenPipeError), pipe:
        for part in parts:
            for chunk in part:
                pipe.write(chunk)


def _checked(option: str) -> str:
    """An option for `ssh -o`, refused where it would weaken the check of host keys."""
    name, separator, value = option.partition("=")
    if not separator or not name.strip().isalnum():
        raise InputError(f"--ssh-option {option!r} is not NAME=VALUE, as `ssh -o` takes it (Port=2222).")
    harmless = _HOST_KEY_OPTIONS.get(name.strip().lower())
    if harmless is not None and value.strip().lower() not in harmless:
        raise InputError(f"--ssh-option {option} would change how host keys are checked, which tks-edge never does.")
    return option


def _batch_mode() -> list[str]:
    """Let `ssh` ask only where somebody can answer: on a terminal, or through the user's own askpass program."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return [] if os.environ.get("SSH_ASKPASS") else ["-o", "BatchMode=yes"]
    return []
