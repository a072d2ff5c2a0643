"""Ranges while a history is away: the exchange is asked, and who is away is left alone for a while."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest
from tests.unit.store.series import part, plain, same

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.errors import StoreError
from klinehub.panel.panel import Panel
from klinehub.store.files import Away
from klinehub.store.history import HistoryStore, Written
from klinehub.store.levels import RESTS, Levels
from klinehub.store.sources import Sources

HOUR: Final = timeframe("1h")
FIRST: Final = 489_000
BARS: Final = plain(HOUR, FIRST, 60)


class Nothing:
    """A panel that has no bar, and does not know since when there are any."""

    complete_from = (1,)

    def row(self, symbol: str) -> int:
        return 0

    def exact(self, symbol: str, **_: int) -> Exact:
        return part(BARS, 0, 0)


class Absent(HistoryStore):
    """A history that raises *fault* whenever it is asked for something."""

    def __init__(self, folder: Path, fault: StoreError) -> None:
        super().__init__(folder)
        self.fault: StoreError | None = fault
        self.asked: list[str] = []

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        return (HOUR,)

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        self.asked.append("read")
        if self.fault is not None:
            raise self.fault
        return super().read(timeframe, symbols, start, end)

    def write(self, timeframe: Timeframe, bars: Mapping[str, Exact], *, replace: bool = False) -> Written:
        self.asked.append("write")
        if self.fault is not None:
            raise self.fault
        return super().write(timeframe, bars, replace=replace)


class World:
    """Levels over an absent history, an exchange that has all, and a clock that is moved by hand."""

    def __init__(self, folder: Path, fault: StoreError) -> None:
        self.now = 0.0
        self.history = Absent(folder, fault)

        async def ask(symbol: str, frame: str, start: int, bars: int) -> Exact:
            at = HOUR.index(start) - FIRST
            return part(BARS, at, at + bars)

        self.levels = Levels(
            lambda _: cast("Panel", Nothing()),
            Sources([self.history]),
            self.history,
            ask,
            monotonic=lambda: self.now,
        )

    async def read(self, at: int) -> Exact:
        """Read ten hours from the hour *at* on."""
        return await self.levels.read("A", HOUR, (FIRST + at) * 3_600_000, (FIRST + at + 10) * 3_600_000)


async def test_a_history_that_is_away_is_left_alone_for_a_while_and_then_read_again(tmp_path: Path) -> None:
    world = World(tmp_path, Away("nobody answers"))

    for at in (0, 10, 20):
        assert same(await world.read(at), part(BARS, at, at + 10))
    assert world.history.asked == ["read"]
    world.history.fault = None
    world.now += RESTS
    assert same(await world.read(30), part(BARS, 30, 40))
    assert "write" in world.history.asked
    assert world.levels.fault == ""
    assert same(HistoryStore(tmp_path).read(HOUR, ["A"], 0, 2**62)["A"], part(BARS, 30, 40))


@pytest.mark.parametrize("fault", [StoreError("no room"), Away("nobody answers")])
async def test_what_can_not_be_written_is_given_all_the_same_and_that_is_said(
    tmp_path: Path, fault: StoreError, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, fault)

    def nothing(*_: Any) -> dict[str, Exact]:
        return {}

    monkeypatch.setattr(world.history, "read", nothing)
    assert same(await world.read(0), part(BARS, 0, 10))
    assert world.levels.fault == str(fault)
    assert world.history.asked == ["write"]
