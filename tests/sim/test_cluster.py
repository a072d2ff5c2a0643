"""Hubs that share a market out, on virtual time: whoever goes, each bar closes once downstream, as it was."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.sim.broker import Broker
from tests.sim.worlds import BARS, HOUR, plainly

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.relay.clustered import ClusteredHub
from klinehub.relay.messages import Bars, decode
from klinehub.relay.relayed import NoExchange
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.market import Market
from klinehub.sim.oracle import Remembering
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
SYMBOLS = 6
FAULTS = ("kill", "server", "lost", "cut", "reset", "slow")


def told_at(broker: Broker) -> dict[tuple[str, int], list[int]]:
    """Give by hub and moment how long the bars are that it told at their close, in their order."""
    found: dict[tuple[str, int], list[int]] = {}
    for subject, _, data in broker.kept:
        if ".klines." in subject and not subject.endswith((".late", ".listing")):
            told = decode(data, Bars)
            frame = timeframe(told.timeframe)
            found.setdefault((told.hub, frame.open_time(told.bar + 1)), []).append(frame.milliseconds)
    return found


class Desk:
    """An exchange, a message server, and the hubs that are up by name; `closes` are those of the fed one."""

    def __init__(self, loop: SimLoop, broker: Broker, market: Market, clock: Clock, served: Served) -> None:
        self.loop, self.broker, self.market, self.clock, self.served = loop, broker, market, clock, served
        self.hubs: dict[str, ClusteredHub] = {}
        self.closes: Counter[tuple[str, str, int]] = Counter()
        self.given_up = 0
        self.since = 0
        self._lives: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, *, skew: int = 0, **settings: Any) -> ClusteredHub:
        """Start a hub whose machine's clock is *skew* ms ahead, and wait until it is live."""
        addresses: dict[str, Any] = {
            "rest_url": self.served.rest_url,
            "stream_url": f"{self.served.ws_url}/market/stream",
            "hub_name": name,
        }
        hub = ClusteredHub(
            HubSettings(**addresses, **{"bars": BARS, "audit": 0.0} | settings),
            clock=Clock(self.clock.now() + skew, 1.0, self.loop.time),
            network=NoExchange() if settings.get("subscribe") else SimNetwork(),
            jitter=np.random.default_rng([len(name), 7]).random,
        )
        live = asyncio.Event()

        async def life() -> None:
            async with hub:
                live.set()
                await asyncio.Event().wait()

        self.broker.dead.discard(name)
        self._lives[name] = asyncio.create_task(life())
        waiting = asyncio.create_task(live.wait())
        await asyncio.wait([waiting, self._lives[name]], return_when=asyncio.FIRST_COMPLETED)
        if not live.is_set():
            await self._lives[name]
        self.hubs[name] = hub
        return hub

    async def kill(self, name: str) -> None:
        """End a hub as when its process is killed: nothing that it had not told is told any more."""
        self.broker.kill(name)
        del self.hubs[name]
        life = self._lives.pop(name)
        life.cancel()
        await asyncio.wait([life])

    def follow(self, name: str) -> None:
        """Count what closes at a hub from now on."""
        hub = self.hubs[name]
        self.since = self.clock.now()
        before = hub._on_news

        def count(decisions: Any) -> None:
            before(decisions)
            for one in decisions.closed:
                self.given_up += len(one.missing)
                for symbol in set(hub.symbols) - set(one.missing):
                    self.closes[symbol, one.timeframe, one.bar] += 1
            for one in decisions.revised:
                self.closes[one.symbol, one.timeframe, one.bar] += 1

        hub._on_news = count

    def expected(self, name: str) -> set[tuple[str, str, int]]:
        """List what has to have closed at a hub since it was followed, but for the last ten seconds."""
        hub = self.hubs[name]
        return {
            (symbol, frame.name, bar)
            for frame in hub.timeframes
            for bar in range(frame.index(self.since), frame.index(self.clock.now() - 10_000))
            for symbol in hub.symbols
        }

    def assert_closed_once(self, name: str) -> None:
        """Hold what closed at a hub against what had to: nothing is missing, nothing doubled."""
        wanted = self.expected(name)
        assert wanted
        assert {key for key in wanted if self.closes[key] == 0} == set()
        assert {key: count for key, count in self.closes.items() if count > 1} == {}

    def assert_true(self, name: str) -> None:
        """Hold all bars of a hub that ended ten seconds ago or earlier against the market."""
        hub = self.hubs[name]
        for frame in hub.timeframes:
            now = self.clock.now()
            first, last = frame.index(now) - BARS, frame.index(now - 10_000) - 1
            for symbol in hub.symbols:
                kept = hub.panel(frame.name).exact(symbol, start=first, end=last)
                index = self.market.index[symbol]
                truth = self.market.klines(index, frame, first, last, now)
                assert plainly(kept) == plainly(truth), (name, symbol, frame.name)

    async def close(self) -> None:
        for life in self._lives.values():
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives.values())
        for life in self._lives.values():
            if not life.cancelled():
                life.result()


def play(act: Callable[[Desk], Awaitable[None]], *, seed: int = 1, start: int = HOUR - 20 * MINUTE) -> None:
    """Let *act* happen at a desk."""

    @asynccontextmanager
    async def desk(loop: SimLoop) -> AsyncIterator[Desk]:
        market: Market = Remembering(synthetic(SYMBOLS, seed, start=start, churn_hours=0))
        clock = Clock(start, 1.0, loop.time)
        async with AsyncExitStack() as stack:
            broker = stack.enter_context(Broker().serving())
            served = await serve(Exchange(market, clock), port=0, ws_port=0)
            stack.push_async_callback(served.close)
            made = Desk(loop, broker, market, clock, served)
            stack.push_async_callback(made.close)
            yield made

    async def acting(loop: SimLoop) -> None:
        async with desk(loop) as made:
            await act(made)

    run(acting, seed=seed)


def test_a_hub_that_is_fed_has_the_market_of_the_one_that_publishes_and_asks_nobody() -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", publish="nats://desk")
        began = made.loop.time()
        fed = await made.begin("fed", subscribe="nats://desk", skew=-7_000)
        assert made.loop.time() - began < 10
        made.follow("fed")
        await asyncio.sleep(11 * 60)

        assert fed.symbols == tuple(sorted(fed.symbols, key=one.symbols.index))
        made.assert_closed_once("fed")
        made.assert_true("fed")
        assert made.given_up == 0
        assert fed.gate.calls == 0
        assert abs(fed.now() - made.clock.now()) < 100
        assert fed.all_stale(fed.symbols) == {}
        assert fed.scan().result.results == one.scan().result.results
        forming = [hub.klines(fed.symbols[0], "1h", 1, forming=True)["close"][-1] for hub in (one, fed)]
        assert forming[0] == pytest.approx(forming[1], rel=0.01)

    play(act)


def test_two_hubs_share_a_market_out_and_each_has_it_whole() -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", cluster="nats://desk")
        assert len(one._mine) == SYMBOLS
        two = await made.begin("two", cluster="nats://desk")
        # What the first one told need not be asked for: the time, the listing and the tickers are left.
        assert two.gate.spent < SYMBOLS * 4 + 45
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        await asyncio.sleep(7 * 60)

        assert set(one._mine) | set(two._mine) == set(one.symbols)
        assert not set(one._mine) & set(two._mine)
        assert one._mine
        assert two._mine
        for name in ("one", "two", "fed"):
            made.assert_true(name)
            assert made.hubs[name].all_stale(one.symbols) == {}
        made.assert_closed_once("fed")
        assert made.given_up == 0
        # The larger bars of a moment can be closed out of the smallest, so that one is not waited for.
        told = told_at(made.broker)
        assert max(map(len, told.values())) > 1
        assert all(lengths == sorted(lengths) for lengths in told.values())

    play(act)


def test_the_symbols_of_a_hub_that_is_killed_are_taken_over_within_ten_seconds() -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", cluster="nats://desk")
        two = await made.begin("two", cluster="nats://desk")
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        await asyncio.sleep(3 * 60 - 1)
        orphans = set(two._mine)
        await made.kill("two")
        await asyncio.sleep(10)

        assert set(one._mine) >= orphans
        assert one.all_stale(one.symbols) == {}
        await asyncio.sleep(5 * 60)
        made.assert_true("fed")
        made.assert_closed_once("fed")

    play(act)


def test_of_two_hubs_that_publish_the_same_one_may_go_and_nothing_is_given_up() -> None:
    async def act(made: Desk) -> None:
        await made.begin("one", publish="nats://desk")
        await made.begin("two", publish="nats://desk")
        fed = await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        await asyncio.sleep(5 * 60 - 2)
        assert made.broker.repeats > 0
        await made.kill("one")
        await asyncio.sleep(7 * 60)

        made.assert_true("fed")
        made.assert_closed_once("fed")
        assert made.given_up == 0
        assert fed.get_stats()["conflicts"] == 0

    play(act)


def test_copies_let_a_hub_go_without_a_symbol_being_given_up() -> None:
    async def act(made: Desk) -> None:
        hubs = [await made.begin(name, cluster="nats://desk", copies=2) for name in ("one", "two", "three")]
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        await asyncio.sleep(3 * 60)
        owners = Counter(symbol for hub in hubs for symbol in hub._mine)
        assert set(owners.values()) == {2}
        await made.kill("two")
        await asyncio.sleep(4 * 60)

        made.assert_closed_once("fed")
        assert made.given_up == 0

    play(act)


@pytest.mark.parametrize("state", ["as it was", "having lost all"])
def test_a_server_that_was_away_is_told_all_that_it_missed(state: str) -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", publish="nats://desk")
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        await asyncio.sleep(2 * 60)
        made.broker.away(lose=state == "having lost all")
        await asyncio.sleep(5 * 60)
        assert one.relay_fault
        assert one.all_stale(one.symbols) == {}
        fed = made.hubs["fed"]
        assert {stale.reason for stale in fed.all_stale(fed.symbols).values()} == {
            "the hub that tells of it is silent"
        }
        made.assert_true("one")
        made.broker.back()
        await asyncio.sleep(30)

        assert not one.relay_fault
        made.assert_true("fed")
        assert fed.all_stale(fed.symbols) == {}
        made.assert_closed_once("fed")

    play(act)


def test_what_was_on_its_way_when_the_link_broke_is_told_by_the_next_one() -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", publish="nats://desk")
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        for _ in range(3):
            now = made.clock.now()
            made.broker.delay = 3.0
            await asyncio.sleep(((now // MINUTE + 1) * MINUTE + 1_500 - now) / 1000)
            kept = len(made.broker.kept)
            for link in [link for link in made.broker.links if link.name == "one"]:
                link.cut()
            await asyncio.sleep(1.0)
            # The close was sent, and never arrived.
            assert len(made.broker.kept) == kept
            made.broker.delay = 0.005
        await asyncio.sleep(40)

        assert not one.relay_fault
        made.assert_true("fed")
        made.assert_closed_once("fed")

    play(act)


def test_a_hub_starts_and_goes_on_alone_without_a_server_and_joins_when_it_comes() -> None:
    async def act(made: Desk) -> None:
        made.broker.away()
        one = await made.begin("one", cluster="nats://desk")
        two = await made.begin("two", cluster="nats://desk")
        await asyncio.sleep(3 * 60)
        for hub in (one, two):
            assert len(hub._mine) == SYMBOLS
            assert hub.relay_fault
        made.broker.back()
        await asyncio.sleep(60)

        assert len(one._mine) + len(two._mine) == SYMBOLS
        await asyncio.sleep(3 * 60)
        for name in ("one", "two"):
            made.assert_true(name)

    play(act)


async def trouble(
    made: Desk, dice: np.random.Generator, names: list[str], kinds: Sequence[str] = FAULTS
) -> None:
    """Let one thing go wrong, and mend it."""
    name = str(dice.choice(names))
    match str(dice.choice(kinds)):
        case "kill":
            await made.kill(name)
            await asyncio.sleep(float(dice.uniform(0, 30)))
            await made.begin(name, cluster="nats://desk")
        case "server" | "lost" as what:
            made.broker.away(lose=what == "lost")
            await asyncio.sleep(float(dice.uniform(1, 40)))
            made.broker.back()
        case "cut":
            for link in [one for one in made.broker.links if one.name == name]:
                link.cut()
        case "reset":
            for line in made.loop.links:
                line.reset()
        case _:
            made.broker.delay = float(dice.choice([0.001, 0.3, 1.5]))


@pytest.mark.parametrize("seed", range(1, 6))
def test_whatever_goes_nothing_is_missing_or_doubled_downstream(seed: int) -> None:
    async def act(made: Desk) -> None:
        dice = np.random.default_rng(seed)
        names = ["one", "two", "three"][: 2 + seed % 2]
        for name in names:
            await made.begin(name, cluster="nats://desk")
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        for _ in range(6):
            await asyncio.sleep(float(dice.uniform(20, 90)))
            await trouble(made, dice, names)
        made.broker.delay = 0.005
        await asyncio.sleep(90)

        for name in (*names, "fed"):
            made.assert_true(name)
        made.assert_closed_once("fed")

    play(act, seed=seed)


def test_symbols_that_are_taken_over_get_sockets_of_their_own_where_the_others_are_full() -> None:
    async def act(made: Desk) -> None:
        one = await made.begin("one", cluster="nats://desk", streams_per_socket=4)
        two = await made.begin("two", cluster="nats://desk", streams_per_socket=4)
        await asyncio.sleep(60)
        before = len(one.live.seats)
        for _ in range(2):
            await made.kill("two")
            await asyncio.sleep(60)
            assert {len(seat.names) <= 4 for seat in one.live.seats} == {True}
            assert one.all_stale(one.symbols) == {}
            two = await made.begin("two", cluster="nats://desk", streams_per_socket=4)
            await asyncio.sleep(30)

        assert len(two._mine) + len(one._mine) == SYMBOLS
        # What was opened for the first time is used the second time.
        assert len(one.live.seats) <= before + 2

    play(act)
