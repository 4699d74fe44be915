"""How a connection comes about, and what is said where it does not: with the real client against a real server."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import environment
from tests.tks_edge.deploy.sshd import FakeBoard
from tks_edge.deploy.ssh import REMOTE_COMMAND, Connection
from tks_edge.deploy.ssh_errors import explained
from tks_edge_runtime.errors import InputError, MissingError

SHELLS = ("sh", "bash", "dash", "zsh", "csh", "tcsh", "fish", "busybox")
AWKWARD = """it's a "folder" with $HOME, `id`, !bang, \\back and ümlaut"""


def connect(board: FakeBoard, *options: str) -> Connection:
    return Connection(board.host, options, board.config)


def fails(board: FakeBoard, error: type[Exception], *words: str, options: tuple[str, ...] = ()) -> None:
    with pytest.raises(error) as raised, connect(board, "BatchMode=yes", *options):
        pass
    for word in words:
        assert word in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_script_gets_its_input_and_gives_its_output_and_exit_code(board: FakeBoard) -> None:
    with connect(board) as connection:
        done = connection.run(
            'IFS= read -r line; echo "got $line"; cat | wc -c; echo oh >&2; exit 7', [b"one\n", b"\0" * 9]
        )
    assert (done.out.split(), done.err.strip(), done.code) == (["got", "one", "9"], "oh", 7)


def test_lines_come_while_the_script_runs(board: FakeBoard) -> None:
    lines: list[str] = []
    with connect(board) as connection:
        assert connection.run("echo one; echo two", on_line=lines.append).out == ""
    assert lines == ["one", "two"]


@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_will_do(board: FakeBoard, shell: str) -> None:
    """Whatever the shell is and prints first, the script that is run is ours, with any name in it."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    board.login_shell = "busybox sh" if shell == "busybox" else shell
    board.start_up = "echo 'Welcome to the board!'; printf 'no line break'"
    board.restart()
    script = f'mkdir -- {shlex.quote(AWKWARD)}; cd -- {shlex.quote(AWKWARD)} && cat >data && printf "%s" "$PWD"'
    with connect(board) as connection:
        done = connection.run(script, [b"x" * 100_000])
    assert (done.code, done.err) == (0, "")
    assert done.out == str(board.home / AWKWARD)
    assert (board.home / AWKWARD / "data").read_bytes() == b"x" * 100_000


@pytest.mark.parametrize("shell", SHELLS)
def test_the_remote_command_is_the_same_to_every_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    program = [shell, "sh"] if shell == "busybox" else [shell]
    script = b"cat; echo ' done'"
    done = subprocess.run(
        [*program, "-c", REMOTE_COMMAND], input=b"%d\n%s%s" % (len(script), script, b"data"), capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"data done\n", b"")


def test_nothing_is_left_of_a_connection(board: FakeBoard) -> None:
    with connect(board) as connection:
        folder = connection._folder
        assert folder is not None
        assert len(list(folder.iterdir())) == 1
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert not re.search(re.escape(str(folder)), subprocess.run(["ps", "ax"], capture_output=True, text=True).stdout)


def test_a_wrong_key_is_refused(board: FakeBoard) -> None:
    board.write_client_config(user_key="stranger")
    fails(board, InputError, "does not let this user in", "publickey", "ssh-copy-id")


def test_an_unknown_host_key_is_never_accepted(board: FakeBoard) -> None:
    board.write_client_config(known_host=None)
    known = board.folder / "known_hosts"
    for options in ((), ("StrictHostKeyChecking=yes",), ("StrictHostKeyChecking=ask",)):
        fails(board, InputError, "is not known yet", f"ssh {board.host}", options=options)
    assert known.read_text() == ""


def test_a_changed_host_key_is_refused(board: FakeBoard) -> None:
    board.write_client_config(known_host="other_host")
    known = board.folder / "known_hosts"
    before = known.read_text()
    fails(board, InputError, "another machine answers", f"line 1 of {known}")
    assert known.read_text() == before


@pytest.mark.parametrize(
    "option",
    [
        "StrictHostKeyChecking=no",
        "stricthostkeychecking=OFF",
        "StrictHostKeyChecking=accept-new",
        "NoHostAuthenticationForLocalhost=yes",
        "StrictHostKeyChecking no=",
        "Port",
        "=1",
    ],
)
def test_no_option_switches_the_check_of_host_keys_off(board: FakeBoard, option: str) -> None:
    with pytest.raises(InputError, match=r"never does|is not NAME=VALUE"):
        connect(board, option)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "two words"])
def test_a_host_is_no_option(host: str) -> None:
    with pytest.raises(InputError, match="is not a host"):
        Connection(host)


def test_nobody_listens(board: FakeBoard) -> None:
    board.stop()
    fails(board, MissingError, "refuses connections", "--ssh-option Port=")


def test_no_such_host() -> None:
    with pytest.raises(InputError, match=r"there is no host board\.invalid"), Connection("board.invalid"):
        pass


def test_a_configuration_that_ssh_does_not_accept(board: FakeBoard) -> None:
    fails(board, InputError, "does not accept its configuration", "nosuchoption", options=("NoSuchOption=1",))
    with pytest.raises(InputError, match="is not a file"):
        Connection("board", config=board.folder / "none")


def test_without_ssh_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match="apt install openssh-client"):
        Connection("board")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("ssh: connect to host jetson port 22: Connection timed out", MissingError, "switched on"),
        ("ssh: connect to host jetson port 22: No route to host", MissingError, "switched on"),
        ("kex_exchange_identification: Connection closed by remote host", MissingError, "closed the connection"),
        ("Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures", InputError, "IdentitiesOnly"),
        ("Bad owner or permissions on /home/me/.ssh/config", InputError, "configuration"),
        ("something that no one has seen yet", MissingError, "something that no one has seen yet"),
        ("", MissingError, "ssh gave no reason"),
    ],
)
def test_causes_that_no_server_here_can_show(said: str, kind: type[Exception], words: str) -> None:
    error = explained(said, "jetson")
    assert type(error) is kind
    assert words in str(error)


def test_a_passphrase_is_asked_for_once_on_the_terminal(board: FakeBoard, tmp_path: Path) -> None:
    """The terminal is a real one (a pseudo-terminal), and what types the passphrase is this test."""
    key = board.folder / "locked_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key], check=True)
    shutil.copy(key.with_suffix(".pub"), board.folder / "authorized_keys")
    board.write_client_config(user_key="locked")
    command = [sys.executable, "-m", "tks_edge", "deploy", board.host, "--ssh-config", str(board.config), "--remove"]
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    with subprocess.Popen(
        [sys.executable, "-c", terminal, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen, answered = b"", False
        while read := os.read(process.stdout.fileno(), 4096):
            seen += read
            if not answered and b"passphrase" in seen and seen.endswith(b": "):
                os.write(process.stdin.fileno(), b"open sesame\n")
                answered = True
    assert process.returncode == 0, seen
    assert seen.count(b"passphrase") == 1
    assert b"nothing to remove" in seen


def test_without_a_terminal_a_locked_key_is_refused_at_once(board: FakeBoard) -> None:
    key = board.folder / "locked_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key], check=True)
    shutil.copy(key.with_suffix(".pub"), board.folder / "authorized_keys")
    board.write_client_config(user_key="locked")
    command = [sys.executable, "-m", "tks_edge", "deploy", board.host, "--ssh-config", str(board.config), "--remove"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), start_new_session=True)
    assert done.returncode == 2
    assert "on a terminal, where ssh can ask" in done.stderr
    assert getpass.getuser() in done.stderr
