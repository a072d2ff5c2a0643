"""Parcels: what a target gets next, of all that waits for it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from klinehub.alerts.outbox import Kept
from klinehub.alerts.quiet import Quiet

TOO_OLD: Final = "too old: it could not be sent in time"


class Terms(NamedTuple):
    """On what terms a target is told.

    More than `digest` alerts at once are one message, of at most `most`; with 0 each is one of its own. Of
    more than `waiting` the oldest are given up, and what could not be sent for `oldest` ms. Alerts of one
    storm come within `collect` ms.
    """

    digest: int
    most: int
    waiting: int
    oldest: int
    collect: int
    quiet: Quiet | None = None

    def waited(self, since: int, now: int) -> int:
        """Give for how many ms something could have been sent."""
        return now - since if self.quiet is None else self.quiet.awake(since, now, self.oldest)

    def held(self, alerts: Sequence[Kept], now: int) -> list[Kept]:
        """Give those of some alerts that waited for the end of quiet hours."""
        ended = 0 if self.quiet is None else self.quiet.ended(now)
        return [kept for kept in alerts if kept.time < ended]


class Parcel(NamedTuple):
    """Alerts that go together, and why they are given up instead of being sent, if they are."""

    alerts: Sequence[Kept]
    refusal: str = ""


def parcel(due: Sequence[Kept], now: int, terms: Terms) -> Parcel | None:
    """Give what is next of what is *due*, oldest first; None where more of a storm may come."""
    return _given_up(due, now, terms) or _chosen(due, now, terms)


def _given_up(due: Sequence[Kept], now: int, terms: Terms) -> Parcel | None:
    old = [kept for kept in due if terms.waited(kept.time, now) > terms.oldest]
    if old:
        return Parcel(old, TOO_OLD)
    if len(due) > terms.waiting:
        return Parcel(due[: len(due) - terms.waiting], f"more than {terms.waiting} alerts waited")
    return None


def _chosen(due: Sequence[Kept], now: int, terms: Terms) -> Parcel | None:
    if not terms.digest:
        return Parcel(due[:1])
    held = terms.held(due, now)
    if held:
        return Parcel(held[: terms.most])
    if due[0].time <= now < due[0].time + terms.collect:
        return None
    return Parcel(due[: terms.most] if len(due) > terms.digest else due[:1])
