"""Subjects: what the messages of a market are called on NATS."""

import re
from typing import Final, NamedTuple

from klinehub.relay.messages import VERSION

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Subjects(NamedTuple):
    """The names of one market below a *prefix*: subjects, and the stream and the bucket that keep them.

    `klines.TIMEFRAME` tells each bar at its close, `klines.TIMEFRAME.late` what came later and was corrected,
    `klines.listing` what is followed; `scans.SCREEN` and `alerts` tell what was found, as JSON. These are
    kept. `pulse.HUB` is not.
    """

    prefix: str
    market: str

    @property
    def root(self) -> str:
        """The begin of all subjects of the market."""
        return f"{_fit(self.prefix)}.v{VERSION}.{_fit(self.market)}"

    @property
    def stream(self) -> str:
        """The stream that keeps what is told of the market."""
        return self.root.replace(".", "_").upper()

    @property
    def bucket(self) -> str:
        """The bucket in which live hubs keep their leases."""
        return self.root.replace(".", "_")

    @property
    def kept(self) -> list[str]:
        """The subjects that the stream keeps."""
        return [f"{self.root}.klines.>", f"{self.root}.scans.>", f"{self.root}.alerts"]

    @property
    def klines(self) -> str:
        """All that a hub is fed with."""
        return f"{self.root}.klines.>"

    @property
    def listing(self) -> str:
        """What is listed and followed."""
        return f"{self.root}.klines.listing"

    def bars(self, timeframe: str, *, late: bool) -> str:
        """The bars of a timeframe."""
        return f"{self.root}.klines.{timeframe}{'.late' if late else ''}"

    def pulse(self, hub: str = "*") -> str:
        """The pulse of a hub, or of all."""
        return f"{self.root}.pulse.{hub if hub == '*' else _fit(hub)}"

    def scans(self, screen: str) -> str:
        """What a screen finds."""
        return f"{self.root}.scans.{_fit(screen)}"

    @property
    def alerts(self) -> str:
        """What was alerted."""
        return f"{self.root}.alerts"


def _fit(name: str) -> str:
    """Give a name without what means something in a subject."""
    return _UNFIT.sub("-", name) or "-"
