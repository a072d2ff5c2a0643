"""The exceptions of klinehub: each carries its facts and ends with what to do next."""

from collections.abc import Collection
from difflib import get_close_matches


class KlinehubError(Exception):
    """Root of the tree; `except KlinehubError` is safe at the outermost level of a program."""


class DefinitionError(KlinehubError):
    """What the user wrote is wrong (symbol, option, config key, factor): fix the text, never retry.

    `place` is how many characters of a text are before what is wrong in it, None where no text was read.
    """

    place: int | None = None


class DataError(KlinehubError):
    """A bar or a body is wrong: it is set aside, counted and shown, and ingest goes on."""


class FeedError(KlinehubError):
    """The exchange could not be reached or refused: the feed retries where that can help."""


class Unreachable(FeedError):
    """No answer: no network, a refused connection, a time-out or a name that does not resolve."""


class Unanswered(Unreachable):
    """A request left and no answer to it came back: whether the exchange acted on it is not known."""


class ProxyError(FeedError):
    """The configured proxy refused, failed or is not there."""


class Banned(FeedError):
    """The exchange said 429 or 418; nothing may be asked before `until` (ms of exchange time)."""

    def __init__(self, message: str, until: int) -> None:
        self.until = until
        super().__init__(message)


class Blocked(FeedError):
    """The exchange or a firewall refuses this address (403, 451): another route is needed."""


class BadRequest(FeedError):
    """The exchange rejected a request as wrong; `code` is its own error code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class StoreError(KlinehubError):
    """What is on disk can not be read or written: the hub goes on from memory and says so."""


class RelayError(KlinehubError):
    """The server between hubs can not be reached, or refuses: the hub goes on alone and says so."""


class NoHub(KlinehubError):
    """No hub is running here that could be asked."""


class UnknownName(DefinitionError):
    """A name that does not exist; the message offers the nearest one that does."""

    def __init__(self, kind: str, name: str, known: Collection[str]) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"Unknown {kind} {name!r}.{_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    """Name the nearest valid spelling, or a few of the valid ones."""
    by_fold = {item.casefold(): item for item in known}
    near = get_close_matches(name.casefold(), by_fold, 1, 0.5)
    if near:
        return f" Did you mean {by_fold[near[0]]!r}?"
    some = ", ".join(sorted(known)[:8])
    return f" Known: {some}{', …' if len(known) > 8 else ''}." if some else ""
