"""Posting: what every way to tell somebody has in common, and how an attempt can end."""

from enum import Enum
from typing import NamedTuple, Protocol

from klinehub.alerts.outbox import Kept, Message
from klinehub.scan.alerts import Alert


class Ended(Enum):
    """How an attempt ended: taken, not taken now, or refused for a reason that does not pass by itself."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"


class Answer(NamedTuple):
    """How an attempt ended, why, and the seconds that the other side wants to be left alone."""

    ended: Ended
    detail: str = ""
    pause: float = 0.0


class Patience(NamedTuple):
    """How often a message is tried: seconds before the second attempt, at most before a later one, and tries.

    Each pause is twice the one before. Without *tries* it goes on until the message is too old; *refusals*
    are what is taken of them for one message.
    """

    first: float
    longest: float
    tries: int | None
    refusals: int


class Post(Protocol):
    """A way to somebody: `failure` says why it is off, if it is, and `where` shows no secret.

    More than `digest` alerts at once become one message, of at most `most`; with 0 each is sent on its own.
    Of more than `waiting` that wait the oldest are given up.
    """

    name: str
    kind: str
    where: str
    failure: str
    digest: int
    most: int
    waiting: int
    lang: str
    patience: Patience

    async def begin(self) -> None:
        """Get ready; from then on `where` and `failure` are known."""

    def wants(self, alert: Alert) -> bool:
        """Whether an alert goes this way."""

    async def send(self, message: Message, *, quiet: bool) -> Answer:
        """Send a message once; *quiet* says that it was held back over quiet hours."""

    async def test(self, kept: Kept) -> Answer:
        """Send an alert as a test."""
