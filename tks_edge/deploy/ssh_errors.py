"""What went wrong between here and the board, read off what `ssh` wrote, as one error that says what to do.

`ssh` ends with 255 for all of its own failures, so the cause is in its words; they are not translated.
"""

from __future__ import annotations

import re

from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError


class DroppedError(MissingError):
    """The connection to the board broke."""

    def __init__(self, host: str, said: str) -> None:
        super().__init__(
            f"the connection to {host} broke ({_last_line(said)}). Run the same command again: it goes on from there."
        )


def explained(said: str, host: str) -> TksEdgeError:
    """The error for a connection that did not come about.

    Args:
        said: what `ssh` wrote to standard error.
        host: as the user named it.
    """
    for pattern, kind, text in _CAUSES:
        found = re.search(pattern, said, re.IGNORECASE)
        if found is not None:
            return kind(text.format(host=host, last=_last_line(said), **_changed(said)))
    return MissingError(f"no connection to {host}: {_last_line(said)}. See what `ssh -v {host}` says.")


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "ssh gave no reason"


def _changed(said: str) -> dict[str, str]:
    place = re.search(r"Offending \S+ key in (.+):(\d+)", said)
    return {"place": f"line {place[2]} of {place[1]}" if place else "in your known_hosts"}


_CAUSES: tuple[tuple[str, type[TksEdgeError], str], ...] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        InputError,
        "the host key of {host} is not the one that is known: another machine answers, or the board was set up anew. "
        "If it was, check its new key there, then remove the old one ({place}) and connect once with: ssh {host}",
    ),
    (
        "Host key verification failed|host key is known",
        InputError,
        "the host key of {host} is not known yet, and is never accepted unseen. Connect once, compare the fingerprint "
        "with the board's and say yes: ssh {host}",
    ),
    (
        "Too many authentication failures",
        InputError,
        "{host} refused after too many keys of your agent. Name the right one: --ssh-option IdentityFile=PATH "
        "--ssh-option IdentitiesOnly=yes",
    ),
    (
        "Permission denied",
        InputError,
        "{host} does not let this user in ({last}). Put your key on the board (ssh-copy-id {host}), name the right one "
        "in your SSH configuration, or run this on a terminal, where ssh can ask.",
    ),
    (
        "Could not resolve hostname",
        InputError,
        "there is no host {host} ({last}). Check the name, or give the address.",
    ),
    (
        "Bad configuration option|bad configuration options|Bad owner or permissions|unsupported option|Bad .*argument|"
        "missing argument|invalid .*argument",
        InputError,
        "ssh does not accept its configuration: {last}. Mend it, or the --ssh-option that says so.",
    ),
    (
        "Connection refused",
        MissingError,
        "{host} refuses connections: no SSH server listens at that port. Start it on the board (sudo systemctl enable "
        "--now ssh), or give the port: --ssh-option Port=NUMBER",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        MissingError,
        "{host} does not answer ({last}). Is it switched on, and in the same network?",
    ),
    (
        "Connection (closed|reset)|Broken pipe|kex_exchange_identification|banner exchange",
        MissingError,
        "{host} closed the connection ({last}). Try again; if it stays so, see what `ssh -v {host}` says.",
    ),
)
