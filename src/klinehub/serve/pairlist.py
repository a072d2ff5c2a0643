"""The pairs that freqtrade's RemotePairList asks for: hits of a screen, or the universe.

freqtrade looks at the body alone, whatever the status: JSON without pairs would be an empty list to it. What
is no list is therefore plain text; then it keeps the pairs that it has.
"""

from collections.abc import Sequence
from typing import Final

from klinehub.domain.timeframe import timeframe
from klinehub.hub import Hub
from klinehub.scan.running import Scan
from klinehub.serve.answers import Pairlist
from klinehub.serve.readiness import readiness
from klinehub.serve.routes import NotAnswered, Replied

MOST: Final = 1_000
# Seconds: the universe is chosen at most once an hour, a screen at each close.
_UNIVERSE_PERIOD: Final = 300
_LONGEST_PERIOD: Final = 1_800
LEFT_OUT_HEADER: Final = "X-Klinehub-Stale"


def pairlist(
    hub: Hub, universe: Sequence[str], scan: Scan | None, *, top: int | None, period: int | None
) -> Replied:
    """Give the pairs of a scan's hits, best first, or of the universe; stale ones are left out and counted.

    Raises NotAnswered while the hub can not be relied on.
    """
    ready = readiness(hub)
    if not ready.ready:
        raise NotAnswered(503, "NotReady", f"Most of the market is not fresh: {'; '.join(ready.reasons)}.")
    names = universe if scan is None else [hit.symbol for hit in scan.result.results]
    stale = hub.all_stale(names)
    pairs = [hub.pair(name) for name in names if name not in stale][: top or MOST]
    usual = _UNIVERSE_PERIOD
    if scan is not None:
        usual = min(_LONGEST_PERIOD, timeframe(scan.result.timeframe).milliseconds // 1000)
    return Replied(Pairlist(pairs, period or usual), headers={LEFT_OUT_HEADER: str(len(stale))})
