"""The audit: closed bars held against a second answer of the exchange, within the budget."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from klinehub.feed.asking import Progress, ask_klines, in_parallel
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import Answer, RestClient
from klinehub.panel.merge import proven
from klinehub.panel.ring import Ring


class Difference(NamedTuple):
    """A closed bar that the exchange now tells otherwise; `open_time` in ms UTC."""

    symbol: str
    timeframe: str
    open_time: int


class Verified(msgspec.Struct, frozen=True):
    """How the cache compares with REST: bars compared, those that differ, and requests that failed.

    `audited` are the bars that the hub compared on its own before, `found` those of them that differed, and
    `corrected` those that were changed for it.
    """

    checked: int
    different: tuple[Difference, ...]
    failed: dict[str, str]
    audited: int = 0
    found: int = 0
    corrected: int = 0


async def audit(
    ring: Ring,
    rest: RestClient,
    symbols: Sequence[str],
    bars: int,
    *,
    proof: Callable[[Answer], int],
    batch: int = 64,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Verified:
    """Ask for the last *bars* bars of every series again and compare each closed one, all ten fields.

    *proof* gives the earliest exchange time at which an answer can have been asked for. Bars that are
    equal count as verified from then on; a ban or a block is raised at once.
    """
    limit = min(bars + 1, rest.venue.most_rows)
    fetches = [Fetch(symbol, tf.name, None, limit) for tf in ring.timeframes for symbol in symbols]
    checked = 0
    different: list[Difference] = []

    async def compare(fetch: Fetch) -> None:
        nonlocal checked
        exact, answer = await ask_klines(rest, fetch)
        asked = proof(answer)
        number, row = ring.number[fetch.timeframe], ring.rows[fetch.symbol]
        count, wrong = ring.verify(number, row, proven(ring.timeframes[number], exact, asked))
        checked += count
        different.extend(Difference(fetch.symbol, fetch.timeframe, time) for time in wrong)

    failed = await in_parallel(fetches, compare, batch=batch, progress=progress)
    return Verified(checked, tuple(sorted(different)), failed)
