"""Exit codes: what a script can tell from how a command ended."""

from typing import Final

from klinehub.errors import (
    BadRequest,
    Banned,
    Blocked,
    DataError,
    DefinitionError,
    FeedError,
    KlinehubError,
    ProxyError,
    Unreachable,
)

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
TERMINATED: Final = 143

# Code and meaning by kind of error; the first that fits counts.
CODES: Final[tuple[tuple[type[KlinehubError], int, str], ...]] = (
    (
        DefinitionError,
        USAGE,
        "an unknown name, option or value; the message, or `doctor`, offers the right one",
    ),
    (Unreachable, 3, "no network, a refused connection, a time-out, or a name that does not resolve"),
    (ProxyError, 4, "the proxy is not there, refused, or wants other credentials"),
    (Banned, 5, "the exchange answered 429 or 418; the message says until when nothing is asked"),
    (Blocked, 6, "a firewall (403) or the exchange's location rule (451) refuses this address"),
    (BadRequest, 7, "the exchange rejected a request as wrong"),
    (FeedError, 8, "what answered is not the exchange (a proxy's page, a captive portal)"),
    (DataError, 9, "an answer could not be used"),
    (KlinehubError, FAILED, "anything else"),
)


def exit_code(error: KlinehubError) -> int:
    """Give the exit code of an error."""
    return code_of(type(error))


def code_of(wanted: type[KlinehubError]) -> int:
    """Give the exit code of a kind of error."""
    return next(code for kind, code, _ in CODES if issubclass(wanted, kind))


def exit_table() -> str:
    """Give the table of exit codes for the documentation."""
    lines = ["| code | meaning |", "|---|---|", "| 0 | done |"]
    lines.append(
        f"| {FAILED} | `verify` found bars that differ or could not be compared; `status` found no hub; "
        "`doctor` found this machine's clock wrong; `download` could not get something that is there; "
        "`store` found something wrong, left it, or could not import it |"
    )
    lines += [f"| {code} | {meaning} |" for _, code, meaning in CODES if code != FAILED]
    lines.append(f"| {INTERRUPTED} | stopped by Ctrl-C |")
    lines.append(f"| {TERMINATED} | stopped by SIGTERM |")
    return "\n".join(lines) + "\n"
