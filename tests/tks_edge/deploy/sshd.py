"""A board for the tests: a real SSH server on this machine, with keys, a home folder and a port of its own.

Nothing of the user who runs the tests is read or written: the client gets a configuration of its own (`-F`), and what
the server starts lives in a home folder below the test's.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
KEYS = ("host", "other_host", "user", "stranger")


@dataclass
class FakeBoard:
    """A machine that answers over SSH: real sshd, real shell, real Python, but this computer."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    login_shell: str = "/bin/sh"
    start_up: str = ""
    """Shell lines that run at every login, as in a user's start-up file."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def host(self) -> str:
        return f"{getuser()}@127.0.0.1"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def programs(self) -> Path:
        """What comes first in the PATH of a login: the board's Python."""
        return self.folder / "bin"

    def write_program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def key(self, name: str) -> Path:
        return self.folder / f"{name}_key"

    def write_client_config(self, *, user_key: str = "user", known_host: str | None = "host") -> None:
        known = self.folder / "known_hosts"
        entry = (
            ""
            if known_host is None
            else f"[127.0.0.1]:{self.port} {self.key(known_host).with_suffix('.pub').read_text()}"
        )
        known.write_text(entry)
        self.config.write_text(
            f"Host 127.0.0.1\n  Port {self.port}\n  IdentityFile {self.key(user_key)}\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n"
        )

    def start(self) -> None:
        """Start the server, with what a login finds there as it is set now."""
        login = self.folder / "login"
        # Packages of the test's environment are the "system's" there, so that nothing needs to be fetched.
        packages = ":".join(map(str, site_packages()))
        login.write_text(
            f"#!/bin/sh\nexport HOME={shlex.quote(str(self.home))} PATH={self.programs}:/usr/bin:/bin\n"
            f"export PYTHONPATH={shlex.quote(packages)} PIP_NO_INDEX=1 OMP_NUM_THREADS=1\n"
            f'cd "$HOME"\n{self.start_up}\nexec {self.login_shell} -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        login.chmod(0o755)
        assert SSHD is not None
        log = self.folder / "sshd.log"
        log.unlink(missing_ok=True)
        command = [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(log)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        for _ in range(200):
            if log.exists() and "Server listening" in log.read_text():
                return
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def stop(self) -> None:
        """Stop the server, and cut every connection."""
        self.cut()
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def cut(self) -> None:
        """Cut the connections that there are, as a pulled cable does; the server goes on."""
        assert self.process is not None
        for child in children(self.process.pid):
            for pid in (*children(child), child):
                kill(pid)


def site_packages() -> list[Path]:
    """Where the packages of the test's environment are."""
    return [Path(path) for path in sys.path if path.endswith("site-packages")]


def free_port() -> int:
    """A port that nobody has, below those that the system hands out by itself: it stays free while nobody listens."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name_ends = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(name_ends[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def board(folder: Path) -> Iterator[FakeBoard]:
    """A server that runs while the block does.

    Without OpenSSH's server here the test is skipped, or fails where TKS_EDGE_REQUIRE_SSHD=1.
    """
    if SSHD is None or shutil.which("ssh") is None:
        reason = "no OpenSSH server and client here (apt-get install openssh-server)"
        if os.environ.get("TKS_EDGE_REQUIRE_SSHD") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where the server shuts itself in
    for name in KEYS:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / f"{name}_key"], check=True)
    made = FakeBoard(folder, free_port())
    made.home.mkdir()
    made.programs.mkdir()
    made.write_program("python3", f'exec {PYTHON} "$@"')
    shutil.copy(made.key("user").with_suffix(".pub"), folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{made.port}\nHostKey {made.key('host')}\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nForceCommand {folder}/login\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitUserRC no\nPrintMotd no\n"
    )
    made.write_client_config()
    try:
        made.start()
        yield made
    finally:
        if made.process is not None:
            made.stop()
