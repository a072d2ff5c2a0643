"""The library's front door: a hub with the system's clock and network."""

import itertools
import os
import random
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from klinehub import compiled
from klinehub.app.compat import MIN_SCORE, KnownHub
from klinehub.app.config import possible
from klinehub.app.options import data_home
from klinehub.app.sharing import beat, machine_seconds, ring_in
from klinehub.app.stored import HISTORY, HOT, history_at
from klinehub.bridge.bridge import Bridge
from klinehub.bridge.library import exchange_of
from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError, StoreError, UnknownName
from klinehub.feed.account import Account
from klinehub.feed.asking import Progress
from klinehub.feed.base import Network
from klinehub.feed.network import RealNetwork, endpoint, is_loopback, proxy_from_env
from klinehub.feed.venue import CCXT, venue_of
from klinehub.feed.warmup import Plan
from klinehub.relay.relayed import NoExchange
from klinehub.settings import DEFAULT_TIMEFRAMES, HubSettings
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.parquet import arrow
from klinehub.store.postgres import PostgresTables
from klinehub.store.postgres_session import is_server
from klinehub.store.sealing import Stores
from klinehub.store.sqlite import SqliteTables


def system_clock(epoch: int | None = None, rate: float = 1.0) -> Clock:
    """Give a clock that starts at *epoch* (ms UTC, by default now) and runs *rate* times real time."""
    return Clock(int(time.time() * 1000) if epoch is None else epoch, rate, machine_seconds)


def system_network(proxy: str | None = None) -> RealNetwork:
    """Give real sockets through *proxy*, or through the one that HTTPS_PROXY or ALL_PROXY names."""
    if proxy is not None:
        return RealNetwork(proxy)
    found = proxy_from_env(os.environ)
    return RealNetwork(found.url, direct=found.direct)


def bridge_of(settings: HubSettings, clock: Clock, proxy: str | None = None) -> Bridge | None:
    """Give the bridge to an exchange that ccxt asks, None for one that needs none.

    Its addresses are those of the settings where these say other ones than usual.
    """
    if not settings.exchange.startswith(CCXT):
        return None
    venue, name = venue_of(settings.exchange), settings.exchange.removeprefix(CCXT).partition(":")[0]
    exchange = exchange_of(
        name,
        rest_url=settings.rest_url.replace(venue.rest_url, ""),
        stream_url=settings.stream_url.replace(venue.stream_url, ""),
        proxy=system_network(proxy).route(settings.rest_url),
    )
    return Bridge(exchange, settings, clock)


def system_account(rest_url: str) -> Account | None:
    """Give the account that all hubs of this user on this machine share; None for an exchange on it.

    A simulator counts for each of its clients, and a ban of the last one is none of the next.
    """
    if is_loopback(endpoint(rest_url)[0]):
        return None
    base = os.environ.get("XDG_STATE_HOME")
    return Account((Path(base) if base else Path.home() / ".local" / "state") / "klinehub" / "account")


def system_store(settings: HubSettings) -> Stores | None:
    """Open the store that the setting `store` names, by default this user's; a simulated exchange has none.

    Raises StoreError where the named one can not be opened; without the default one a hub does without.
    """
    folder, host = data_folder(settings), endpoint(settings.rest_url)[0]
    if is_server(settings.store):
        tables = PostgresTables(settings.store, market=settings.exchange, origin=host)
        return Stores(HotStore(tables), _history(settings), expires=not settings.history)
    if folder is None:
        return None
    try:
        return _opened(folder, settings, host)
    except StoreError as exc:
        if settings.store != "auto":
            raise
        warnings.warn(f"Nothing is kept on disk: {exc}", stacklevel=2)
        return None


def data_folder(settings: HubSettings) -> Path | None:
    """Give the folder that the setting `store` names, by default this user's; None for none, or a server."""
    if is_server(settings.store):
        return None
    if settings.store == "off" or (settings.store == "auto" and is_loopback(endpoint(settings.rest_url)[0])):
        return None
    if settings.store != "auto":
        return Path(settings.store)
    return data_home()


def _opened(folder: Path, settings: HubSettings, origin: str) -> Stores:
    """Open a market's stores in a data folder, made if it is not there; history needs pyarrow."""
    market = folder / settings.exchange
    hot = HotStore(SqliteTables(market / HOT, origin=origin))
    return Stores(hot, _history(settings, market), expires=not settings.history)


def _history(settings: HubSettings, market: Path | None = None) -> HistoryStore | None:
    """Give where days that are over move to, in the folder of a *market* unless the settings name a place.

    Without pyarrow there is none, and where a place was named that raises DefinitionError.
    """
    if not settings.history:
        return None
    if settings.history_path:
        arrow()
        return history_at(settings.exchange, settings.history_path)
    return None if market is None or find_spec("pyarrow") is None else HistoryStore(market / HISTORY)


_NUMBERS: Final = itertools.count()


def hub_name() -> str:
    """Name a hub among others by its machine and process, and a further one of a process by its number."""
    number = next(_NUMBERS)
    return f"{socket.gethostname()}-{os.getpid()}{f'-{number}' if number else ''}"


class Hub(KnownHub):
    """A whole market's klines, warmed up and then live; use it as `async with Hub(...) as hub`.

    *exchange* is "binance-usdm", "binance-spot" or "binance-coinm"; further keywords are the fields of
    `HubSettings`, for example `symbols=["BTCUSDT"]`, `bars=300`, `rest_url=` and `stream_url=` for mirrors
    and test networks.
    Raises UnknownName for an exchange, timeframe, symbol or factor that does not exist.
    """

    def __init__(
        self,
        exchange: str = "binance-usdm",
        *,
        timeframes: Sequence[str] = DEFAULT_TIMEFRAMES,
        proxy: str | None = None,
        clock: Clock | None = None,
        network: Network | None = None,
        on_plan: Callable[[Plan], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_compile: Callable[[], None] = lambda: None,
        on_relay: Callable[[str], None] = lambda _: None,
        **settings: object,
    ) -> None:
        venue_of(exchange)
        known = HubSettings.__struct_fields__
        for name in settings:
            if name not in known:
                raise UnknownName("setting", name, known)
        self._on_compile, self._on_relay = on_compile, on_relay
        if isinstance(timeframes, str):
            raise DefinitionError(f"timeframes is {timeframes!r}: give a list, for example [{timeframes!r}].")
        try:
            wanted = msgspec.convert(
                {**settings, "exchange": exchange, "timeframes": tuple(timeframes)}, HubSettings
            )
        except msgspec.ValidationError as exc:
            raise DefinitionError(f"A setting does not fit: {exc}.") from exc
        if not wanted.hub_name:
            wanted = msgspec.structs.replace(wanted, hub_name=hub_name())
        clock, wanted = clock or system_clock(), possible(wanted)
        self.bridge = None if wanted.subscribe else bridge_of(wanted, clock, proxy)
        super().__init__(
            wanted if self.bridge is None else self.bridge.settings,
            clock=clock,
            network=NoExchange() if wanted.subscribe else self.bridge or network or system_network(proxy),
            jitter=random.random,
            account=None if wanted.subscribe else system_account(wanted.rest_url),
            on_plan=on_plan,
            on_progress=on_progress,
            open_store=lambda: system_store(wanted),
            make_ring=ring_in(wanted.panel_file),
        )

    async def _start(self) -> None:
        """Have the kernels compiled beside this process before anything has to be on time."""
        await compiled.ensure(self._on_compile)
        if self.bridge is not None:
            await self.bridge.open(self.timeframes)
            self._spawn(self.bridge.run())
        await super()._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the hub, and then what it was fed by."""
        try:
            await super().__aexit__(kind, exc, trace)
        finally:
            if self.bridge is not None:
                await self.bridge.close()

    @property
    def unproved(self) -> list[str]:
        """What can not be proved of this exchange, in words; nothing for one that is not asked by ccxt."""
        return [] if self.bridge is None else self.bridge.says(len(self.symbols))

    def _relay_says(self, fault: str) -> None:
        """Say once what keeps the hub from its relay, and that nothing does any more."""
        if fault != self.relay_fault:
            self._on_relay(fault or "The relay is there.")
        super()._relay_says(fault)

    def _lay_out(self) -> None:
        """Let other programs see from the first moment that this hub lives."""
        super()._lay_out()
        if self.bridge is not None:
            self.ring.lacks = self.bridge.lacks
        self._spawn(beat(self.ring, self.now, self.clock.rate))


async def run_optimized_scan(
    min_score: float = MIN_SCORE,
    max_symbols: int | None = None,
    *,
    analyze: Callable[..., Any] | None = None,
    **options: Any,  # noqa: ANN401 - the keywords of `Hub`
) -> dict[str, Any]:
    """Warm a hub up, scan once and leave: what `Hub.run_optimized_scan` gives; *options* are the hub's."""
    async with Hub(**{"streams": False, **options}) as hub:
        return await hub.run_optimized_scan(min_score, max_symbols, analyze=analyze)
