"""Alerts: the hits that somebody is told, each once, in a form that stays the same wherever it goes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from klinehub.scan.likeness import Likeness
from klinehub.scan.running import Scan
from klinehub.scan.scanner import Hit


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A hit: which screen found whom, at which bar (open time in ms UTC), at what price (its close) and why.

    `pair` is the symbol as ccxt and freqtrade name it. `revision` is how often the bar was scanned again
    before; `stale` says why the symbol is not proven fresh, null where it is. `rule` is what decided: a rule,
    or a screen of the user's own. `change` is in percent since the bar's open, `change_24h` in percent and
    `turnover` in the quote asset over 24 hours, null where not known; `forming` says that the bar was still
    open. `key` is the same for the same rule, symbol and bar, however often it is decided. `evidence` is what
    came after scores like this on history, null where nothing is known of it.
    """

    screen: str
    symbol: str
    pair: str
    timeframe: str
    bar_open_time: int
    side: str
    score: float | None
    price: float
    revision: int
    stale: str | None
    contributions: Mapping[str, float] = {}
    columns: Mapping[str, float | None] = {}
    rule: str = ""
    change: float | None = None
    change_24h: float | None = None
    turnover: float | None = None
    forming: bool = False
    key: str = ""
    evidence: Likeness | None = None


class Facts(NamedTuple):
    """What is told of a symbol beside a hit: see `Alert`."""

    change: float | None = None
    change_24h: float | None = None
    turnover: float | None = None


_NOTHING: Final = Facts()


def key_of(rule: str, symbol: str, timeframe: str, bar_open_time: int) -> str:
    """Give the twelve digits by which whoever gets an alert twice knows it again."""
    words = "\0".join((rule, symbol, timeframe, str(bar_open_time)))
    return hashlib.sha256(words.encode()).hexdigest()[:12]


class New:
    """Knows what was told, so that a bar that is scanned again tells only what is new."""

    def __init__(self) -> None:
        self._hits: dict[str, tuple[int, set[str]]] = {}
        self._failed: set[str] = set()

    def hits(self, scan: Scan) -> list[Hit]:
        """Give the hits of a scan that were not given for the same bar before."""
        result = scan.result
        bar, known = self._hits.get(result.screen, (-1, set()))
        known = known if bar == result.bar else set()
        new = [hit for hit in result.results if hit.symbol not in known]
        self._hits[result.screen] = (result.bar, known | {hit.symbol for hit in new})
        return new

    def failures(self, scan: Scan) -> list[str]:
        """Give why screens were given up, each once."""
        new = [f"{name} is given up: {why}" for name, why in scan.failed.items() if name not in self._failed]
        self._failed.update(scan.failed)
        return new


def alerts(
    hits: Sequence[Hit],
    scan: Scan,
    pair: Callable[[str], str],
    facts: Callable[[str], Facts] = lambda _: _NOTHING,
) -> list[Alert]:
    """Write hits of a scan down; *pair* names a symbol as ccxt does, *facts* tells what else is known."""
    result = scan.result
    return [
        Alert(
            screen=result.screen,
            symbol=hit.symbol,
            pair=pair(hit.symbol),
            timeframe=result.timeframe,
            bar_open_time=result.bar_open_time,
            side=hit.side,
            score=hit.score,
            price=hit.price,
            revision=scan.revision,
            stale=scan.stale[hit.symbol].reason if hit.symbol in scan.stale else None,
            contributions=hit.contributions,
            columns=hit.columns,
            rule=result.screen,
            forming=result.forming,
            key=key_of(result.screen, hit.symbol, result.timeframe, result.bar_open_time),
            evidence=scan.evidence.get(hit.symbol),
            **facts(hit.symbol)._asdict(),
        )
        for hit in hits
    ]
