"""A hundred restarts in a row, each killed on its way, without one refusal: the account outlives them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest.mock import patch

import numpy as np
import pytest

from klinehub.dialect import tally
from klinehub.dialect.params import Rejected
from klinehub.dialect.tally import Tally
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE, in_order
from klinehub.errors import FeedError
from klinehub.feed import binance
from klinehub.feed.account import Account
from klinehub.feed.budget import WeightGate
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.feed.warmup import plan, warm_up
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.synthetic import synthetic
from klinehub.sim.wire import heavy

pytestmark = pytest.mark.timeout(120)
# 2026-10-05 23:00, two seconds before a minute ends.
START: Final = 1_791_241_200_000 + 58_000
LIMIT: Final = 200
CAP: Final = 160
RESTARTS: Final = 100
# This machine's clock is ahead of the exchange's.
SKEW: Final = 1_700


@dataclass
class Seen:
    """What the exchange saw: weight by minute of its own clock, and how often it refused."""

    weights: Counter[int] = field(default_factory=Counter)
    refusals: int = 0


@contextmanager
def watched() -> Iterator[Seen]:
    """Note, while it lasts, what the exchange counts and refuses."""
    seen, spend = Seen(), Tally.spend

    def counted(kept: Tally, address: str, weight: int, now: int) -> tally.Account:
        seen.weights[now // MINUTE] += weight
        try:
            return spend(kept, address, weight, now)
        except Rejected:
            seen.refusals += 1
            raise

    with patch.object(Tally, "spend", counted):
        yield seen


async def start(rest: RestClient, gate: WeightGate, clock: Clock, symbols: list[str]) -> None:
    """Ask for what a hub asks for when it starts."""
    await rest.get(binance.EXCHANGE_INFO, {}, weight=1, use=Use.CONTROL)
    answer = await rest.ask(binance.TIME, {}, weight=1, use=Use.CONTROL)
    gate.offset += binance.parse_time(answer.body) - (answer.asked + gate.now()) // 2
    await rest.get(binance.TICKER_24H, {}, weight=binance.TICKER_24H_WEIGHT, use=Use.CONTROL)
    frames = in_order(("1m", "5m"))
    todo = plan(symbols, frames, 120, cap=gate.cap, used=gate.used, now=gate.now())

    async def fetch(item: Fetch) -> None:
        params: dict[str, str | int] = {
            "symbol": item.symbol,
            "interval": item.timeframe,
            "limit": item.limit,
        }
        await rest.get(binance.KLINES, params, weight=binance.klines_weight(item.limit))

    await warm_up(todo, fetch, clock, batch=16)


async def live_and_die(served: Served, clock: Clock, path: Path | None, seconds: float) -> int:
    """Be a process for some *seconds* and die as one does that is killed; give the requests it made."""
    account = None if path is None else Account(path)
    gate = WeightGate(clock, limit=LIMIT, account=account, host="exchange:443")
    rest = RestClient(served.rest_url, SimNetwork(), gate, clock)
    starting = asyncio.create_task(start(rest, gate, clock, [f"{name}USDT" for name in ("BTC", "ETH")] * 8))
    await asyncio.wait([starting], timeout=seconds)
    # The dead write no more.
    gate._account = None
    starting.cancel()
    with suppress(asyncio.CancelledError, FeedError):
        await starting
    await rest.close()
    return gate.calls


def storm(path: Path | None, *, seed: int, hubs: int = 1) -> tuple[Seen, float, int]:
    """Restart *hubs* at once, a hundred in all; give what was seen, the minutes it took and the calls."""
    dice = np.random.default_rng(seed)

    async def main(loop: SimLoop) -> tuple[Seen, float, int]:
        clock = Clock(START, 1.0, loop.time)
        ours = Clock(START + SKEW, 1.0, loop.time)
        exchange = Exchange(synthetic(4, seed, start=START), clock, weight_limit=LIMIT)
        served = await serve(exchange, port=0, ws_port=0)
        calls = 0
        with watched() as seen:
            for _ in range(RESTARTS // hubs):
                lives = [live_and_die(served, ours, path, dice.uniform(0.05, 5.0)) for _ in range(hubs)]
                calls += sum(await asyncio.gather(*lives))
        minutes = loop.time() / 60
        await served.close()
        return seen, minutes, calls

    return run(main, seed=seed, delay=heavy(0.03))


@pytest.mark.parametrize(("seed", "hubs"), [(1, 1), (2, 1), (3, 4)])
def test_a_hundred_restarts_meet_no_refusal(tmp_path: Path, seed: int, hubs: int) -> None:
    seen, minutes, calls = storm(tmp_path / "account", seed=seed, hubs=hubs)

    assert seen.refusals == 0
    # Until the exchange's time was read once, nobody knows where its minutes begin.
    first, *others = (weight for _, weight in sorted(seen.weights.items()))
    assert first <= LIMIT
    assert max(others) <= CAP
    assert minutes < 6
    assert calls > 50


def test_without_the_account_the_same_restarts_end_in_refusals() -> None:
    seen, _, _ = storm(None, seed=1)

    assert seen.refusals > 0
