"""Faults of the market itself: corrections, comings and goings, maintenance, silence; its truth follows."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.sim.amended import Amended
from klinehub.sim.exchange import Exchange
from klinehub.sim.faults import Fault
from klinehub.sim.mishap import Cure, Deed, Dice, next_minute, nothing, one_of, whole_minutes

# A bar is corrected this many ms after its close at the earliest, and this many minutes at the latest.
_TOLD: Final = 5_000
_OLDEST: Final = 20
# So many symbols always go on trading.
_REMAIN: Final = 2


class Corrected(NamedTuple):
    """A minute bar that is another one since `time` (market ms)."""

    time: int
    symbol: str
    minute: int


class MarketTrouble:
    """Carries out the faults of the market; `corrected` lists the bars whose truth was changed.

    *hush* makes the WebSocket say nothing of a symbol's trade-less closes until what it gives is called.
    """

    def __init__(self, exchange: Exchange, dice: Dice, *, hush: Callable[[str], Callable[[], None]]) -> None:
        if not isinstance(exchange.market, Amended):
            raise DefinitionError("Trouble changes the truth: give the exchange an Amended market.")
        self.corrected: list[Corrected] = []
        self._market = exchange.market
        self._exchange = exchange
        self._clock = exchange.clock
        self._dice = dice
        self._hush = hush

    @property
    def deeds(self) -> dict[str, Deed]:
        """What this can carry out, by the kind of fault."""
        return {
            "correction": self.correction,
            "new_listing": self.new_listing,
            "delisting": self.delisting,
            "rename": self.rename,
            "maintenance": self.maintenance,
            "quiet_symbol": self.quiet_symbol,
        }

    def correction(self, fault: Fault) -> Cure | None:
        """Make one of the last minutes of a symbol another one: recent ones more often than old ones."""
        trading = [one for one in self._trading() if not self._market.ends(one.symbol)]
        if not trading:
            return None
        symbol = one_of(trading, fault.pick).symbol
        newest = (self._clock.now() - _TOLD) // MINUTE - 1
        minute = (newest - int(_OLDEST * self._dice(fault).random() ** 2)) * MINUTE
        if not self._market.correct(symbol, minute, price_only=fault.size < 0.5):
            return None
        self._exchange.pacer.forget(self._market.index[symbol])
        self.corrected.append(Corrected(self._clock.now(), symbol, minute))
        return nothing

    def new_listing(self, fault: Fault) -> Cure | None:
        """Announce a symbol with the next minute and let it trade some minutes later, or at once."""
        hidden = self._market.hidden
        if not hidden:
            return None
        announced = next_minute(self._clock)
        onboard = announced + whole_minutes(fault.seconds)
        self._market.enlist(one_of(hidden, fault.pick), announced, onboard)
        return lambda: self._until(onboard)

    def delisting(self, fault: Fault) -> Cure | None:
        """Say with the next minute that a symbol ends, and end it some minutes later, or at once."""
        leaving = self._leaving()
        if not leaving:
            return None
        warned = next_minute(self._clock)
        end = warned + whole_minutes(fault.seconds)
        self._market.delist(one_of(leaving, fault.pick).symbol, warned, end)
        return lambda: self._until(end)

    def rename(self, fault: Fault) -> Cure | None:
        """End one symbol and begin another in the same minute."""
        leaving, hidden = self._leaving(), self._market.hidden
        if not leaving or not hidden:
            return None
        told = next_minute(self._clock)
        moment = told + whole_minutes(fault.seconds)
        self._market.delist(one_of(leaving, fault.pick).symbol, told, moment)
        self._market.enlist(hidden[0], told, moment)
        return lambda: self._until(moment)

    def maintenance(self, fault: Fault) -> Cure:
        """Leave out all bars from the next minute on."""
        start = next_minute(self._clock)
        end = start + whole_minutes(fault.seconds)
        self._market.hole(start, end)
        return lambda: self._until(end)

    def quiet_symbol(self, fault: Fault) -> Cure | None:
        """Let nobody trade a symbol from the next minute on; its flat closes are told, or not."""
        trading = [one for one in self._trading() if not self._market.ends(one.symbol)]
        if not trading:
            return None
        symbol, start = one_of(trading, fault.pick).symbol, next_minute(self._clock)
        end = start + whole_minutes(fault.seconds)
        self._market.quiet(symbol, start, end)
        speak = self._hush(symbol) if fault.size < 0.5 else nothing

        async def over() -> None:
            await self._until(end)
            speak()

        return over

    def _trading(self) -> list[Listing]:
        """Give the perpetuals that trade now, most traded first."""
        return [one for one in self._exchange.source.listings() if one.trading and one.perpetual]

    def _leaving(self) -> list[Listing]:
        """Give the symbols that may end: never the first ones."""
        return [one for one in self._trading() if not self._market.ends(one.symbol)][_REMAIN:]

    async def _until(self, time: int) -> None:
        """Wait until what happened at *time* has been told."""
        await asyncio.sleep(self._clock.seconds_until(time) + 0.5)
