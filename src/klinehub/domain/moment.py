"""Moments in texts: written in UTC wherever something is told, and shown in the zone of whoever reads it."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Final

_FORM: Final = "%Y-%m-%d %H:%M:%S"
_WRITTEN: Final = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC\b")


def utc(time: int) -> str:
    """Write a moment (ms UTC) in UTC, to the second."""
    return written(time, UTC)


def written(time: int, zone: tzinfo, *, named: bool = True) -> str:
    """Write a moment (ms UTC) in a zone, to the second, with the zone's name or without it."""
    return datetime.fromtimestamp(time / 1000, zone).strftime(_FORM + (" %Z" if named else ""))


def in_zone(text: str, zone: tzinfo) -> str:
    """Give a text with every moment in it that was written by `utc` in another zone."""

    def moved(found: re.Match[str]) -> str:
        try:
            moment = datetime.strptime(found[0], f"{_FORM} UTC").replace(tzinfo=UTC)
        except ValueError:
            # It only looks like one.
            return found[0]
        return moment.astimezone(zone).strftime(f"{_FORM} %Z")

    return _WRITTEN.sub(moved, text)
