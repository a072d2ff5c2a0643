"""What a hub has left on disk, read as one: history, and the newest days as far as nobody writes them."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.unit.store.series import SCALE, changed, part, plain, same

import klinehub as kh
from klinehub.app.stored import HISTORY, HOT
from klinehub.domain.kline import CLOSED, Exact
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.store.agreement import disagreements
from klinehub.store.base import Change, First, key_of
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore, Slice
from klinehub.store.joining import words_of
from klinehub.store.overview import of_history, of_hot
from klinehub.store.resting import listed
from klinehub.store.slices import ABSENT, Lines
from klinehub.store.sqlite import SqliteTables, fault

HOUR: Final = timeframe("1h")
# 2025-03-01, 00:00 UTC.
BEGIN: Final = 1_740_787_200_000
FIRST: Final = BEGIN // 3_600_000
ALL: Final = plain(HOUR, FIRST, 96)


def hot_of(folder: Path) -> HotStore:
    return HotStore(SqliteTables(folder / HOT, origin="fapi.test"))


def commit(store: HotStore, exact: Exact, symbol: str = "A", *, state: int = CLOSED) -> None:
    number = np.array([store.number(symbol, exact.scale)])
    words, frame = words_of(exact), HOUR
    slices = [
        Slice(frame, frame.index(int(word[0])), Lines(number, np.array([state]), word[None]))
        for word in words
    ]
    store.commit(slices, firsts=[First(HOUR.milliseconds, symbol, FIRST)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a market with three days in history, and the last of them and one more in the hot store."""
    market = tmp_path / "binance-usdm"
    HistoryStore(market / HISTORY).write(HOUR, {"A": part(ALL, 0, 72)})
    store = hot_of(market)
    commit(store, part(ALL, 48, 96))
    store.seal(HOUR, BEGIN + 2 * DAY)
    store.tables.close()
    return market


def test_the_newest_days_are_read_and_the_store_is_given_back(folder: Path) -> None:
    stored = kh.open(folder.parent)

    assert same(stored.exact("1h")["A"], ALL)
    assert stored.newest_missing == ""
    assert stored.symbols("1h", "2025-03-04") == ("A",)
    assert len(stored.klines("A", "1d")) == 4
    hot_of(folder).tables.close()


def test_a_hub_that_writes_them_is_told_of_once(folder: Path) -> None:
    stored, writer = kh.open(folder), hot_of(folder)

    with pytest.warns(UserWarning, match="newest days of binance-usdm are left out: .* in use by process"):
        assert same(stored.exact("1h")["A"], part(ALL, 0, 72))
    assert same(stored.exact("1h")["A"], part(ALL, 0, 72))
    assert "stop it first" in stored.newest_missing
    writer.tables.close()
    assert same(stored.exact("1h")["A"], ALL)
    assert stored.newest_missing == ""


def test_a_damaged_file_is_left_to_its_repair(folder: Path) -> None:
    (folder / HOT).write_bytes(b"what is this" * 1000)
    stored = kh.open(folder)

    with pytest.warns(UserWarning, match="run `klinehub store repair`"):
        assert same(stored.exact("1h")["A"], part(ALL, 0, 72))
    assert (folder / HOT).read_bytes() == b"what is this" * 1000


def test_a_folder_with_only_a_hot_store_is_a_market(tmp_path: Path) -> None:
    store = hot_of(tmp_path / "binance-spot")
    commit(store, part(ALL, 0, 2))
    store.tables.close()

    assert repr(kh.open(tmp_path)) == "<Stored binance-spot, 1h>"
    assert same(kh.open(tmp_path).exact("1h")["A"], part(ALL, 0, 2))


def test_a_correction_on_its_way_to_history_is_what_counts(folder: Path) -> None:
    corrected = changed(ALL, 50, volume=7)
    store = hot_of(folder)
    commit(store, part(corrected, 50, 51))
    store.tables.close()

    assert same(kh.open(folder).exact("1h")["A"], corrected)


def test_without_a_correction_both_have_to_agree(folder: Path) -> None:
    HistoryStore(folder / HISTORY).write(HOUR, {"A": part(changed(ALL, 50, volume=7), 50, 51)}, replace=True)

    with pytest.raises(kh.DataError, match="2025-03-03 02:00"):
        kh.open(folder).exact("1h")
    store = hot_of(folder)
    (said,) = disagreements(store, HistoryStore(folder / HISTORY), HOUR)
    store.tables.close()
    assert "A 1h 2025-03-03 02:00:00 UTC: volume 0.007 and" in said


def test_bars_that_were_moved_and_are_gone_are_missed(folder: Path) -> None:
    history = HistoryStore(folder / HISTORY)
    history.drop(HOUR, "2025-03")
    history.write(HOUR, {"A": part(ALL, 0, 60)})
    store = hot_of(folder)

    assert list(disagreements(store, history, HOUR)) == [
        "A 1h 2025-03-03 00:00:00 UTC: history lacks 12 bars that were moved to it"
    ]
    store.tables.close()


def test_a_first_bar_is_as_late_as_the_smallest_timeframe_tells(folder: Path) -> None:
    store = hot_of(folder)
    minute = timeframe("1m")
    store.commit([], firsts=[First(60_000, "A", minute.index(BEGIN) + 7), First(60_000, "B", -1)])

    assert listed(store) == {"A": BEGIN + 7 * 60_000}
    store.tables.close()


def test_gaps_are_told_but_not_bars_that_the_exchange_does_not_have(folder: Path) -> None:
    holed = Exact(np.delete(ALL.rows, [5, 6, 30]), SCALE)
    history = HistoryStore(folder / HISTORY)
    history.drop(HOUR, "2025-03")
    history.write(HOUR, {"A": holed})
    store = hot_of(folder)
    commit(store, part(ALL, 0, 1), "B")
    commit(store, part(ALL, 1, 2), "B", state=ABSENT)
    commit(store, part(ALL, 2, 3), "B")
    commit(store, part(ALL, 6, 7), "B")
    in_history, in_hot = of_history(history, HOUR), of_hot(store, HOUR)
    store.tables.close()

    assert (in_history.bars, in_history.span) == (93, (BEGIN, BEGIN + 95 * 3_600_000))
    assert [(gap.first, gap.bars) for gap in in_history.lacking] == [
        (BEGIN + 5 * 3_600_000, 2),
        (BEGIN + 30 * 3_600_000, 1),
    ]
    assert [(gap.symbol, gap.bars) for gap in in_hot.lacking] == [("B", 3)]
    assert in_hot.bars == 48 + 3
    assert in_hot.bytes > 0


def test_who_only_looks_leaves_a_damaged_slice_where_it_is(folder: Path) -> None:
    store = hot_of(folder)
    key = key_of(HOUR, FIRST + 90)
    ((_, body),) = store.tables.scan(key, key)
    store.tables.commit(Change(slices=((key, body[:-1] + b"\x00"),)))
    looking = HotStore(store.tables, aside=False)
    told = of_hot(looking, HOUR)

    assert (told.bars, len(told.damaged)) == (47, 1)
    assert store.tables.damaged() == []
    assert of_hot(HotStore(store.tables), HOUR).bars == 47
    assert len(store.tables.damaged()) == 1
    store.tables.close()


def test_a_damaged_file_is_known_without_a_change_and_rebuilt_on_request(folder: Path) -> None:
    path = folder / HOT
    assert fault(path) == ""
    body = bytearray(path.read_bytes())
    # The last page of slices: its head says what kind of page it is.
    at = max(place for place in range(4096, len(body), 4096) if body[place] == 13)
    body[at : at + 64] = bytes(64)
    path.write_bytes(body)
    why = fault(path)

    assert why
    assert path.read_bytes() == bytes(body)
    tables = SqliteTables(path, origin=None)
    if not tables.salvaged:
        tables.rebuild(why)
    assert "was damaged" in tables.salvaged
    tables.close()
    assert fault(path) == ""
    assert path.with_name(f"{HOT}.damaged").is_file()
