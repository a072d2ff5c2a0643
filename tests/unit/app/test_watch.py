"""Watching on the terminal: each hit in one line, once, and a journal that goes on after a restart."""

from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from klinehub.app.journal import journal, outcomes
from klinehub.app.watch import line
from klinehub.domain.stale import Stale
from klinehub.errors import DefinitionError
from klinehub.scan.alerts import New, alerts
from klinehub.scan.journal import Entry, Journal, latest
from klinehub.scan.lines import append_lines
from klinehub.scan.running import Scan
from klinehub.scan.scanner import Hit, ScanResult

UTC = ZoneInfo("UTC")


def scan(bar: int, *symbols: str, revision: int = 0, failed: dict[str, str] | None = None) -> Scan:
    hits = tuple(Hit(one, 51.25, "long", 97123.5, {}, {"rsi": 71.25, "new": None}) for one in symbols)
    result = ScanResult("15m", bar, 1_700_000_100_000, 3, (), (), (), {}, 0.0, len(hits), hits, screen="mine")
    stale = {"ETHUSDT": Stale("its stream is silent", 0)}
    return Scan(result, 0.0, 0, stale, revision=revision, failed=failed or {})


def test_a_bar_that_is_scanned_again_tells_only_what_is_new() -> None:
    new = New()

    assert [hit.symbol for hit in new.hits(scan(1, "A", "B"))] == ["A", "B"]
    assert [hit.symbol for hit in new.hits(scan(1, "A", "C", revision=1))] == ["C"]
    assert [hit.symbol for hit in new.hits(scan(2, "A"))] == ["A"]
    assert new.failures(scan(2, failed={"x": "why"})) == ["x is given up: why"]
    assert new.failures(scan(3, failed={"x": "why"})) == []


def test_a_line_says_when_which_who_at_what_price_and_why() -> None:
    one = scan(1, "BTCUSDT", "ETHUSDT")
    lines = [line(hit, one, UTC) for hit in one.result.results]

    assert lines[0] == "2023-11-14 22:15:00 15m  mine  BTCUSDT  97123.5  rsi=71.25  long +51.2"
    assert lines[1].endswith("  long +51.2  stale: its stream is silent")


def test_a_line_of_json_is_flat_names_the_pair_and_stays_as_it_is() -> None:
    one = scan(1, "BTCUSDT", "ETHUSDT", revision=2)
    told = alerts(
        one.result.results, one, {"BTCUSDT": "BTC/USDT:USDT", "ETHUSDT": "ETH/USDT:USDT"}.__getitem__
    )

    assert msgspec.json.encode(told[0]).decode() == (
        '{"screen":"mine","symbol":"BTCUSDT","pair":"BTC/USDT:USDT","timeframe":"15m",'
        '"bar_open_time":1700000100000,"side":"long","score":51.25,"price":97123.5,"revision":2,'
        '"stale":null,"contributions":{},"columns":{"rsi":71.25,"new":null},"rule":"mine","change":null,'
        '"change_24h":null,"turnover":null,"forming":false,"key":"0548a397a381",'
        '"evidence":null}'
    )
    assert told[1].stale == "its stream is silent"


def entry(bar: int, symbol: str, side: str, **returns: float | None) -> Entry:
    told = {int(name.removeprefix("after")): value for name, value in returns.items()}
    return Entry("mine", "abc", "15m", bar, symbol, side, 50.0, 100.0, told)


WRITTEN = [
    entry(1, "A", "long"),
    entry(1, "A", "long", after1=0.25),
    entry(1, "A", "long", after1=0.25, after4=-0.5),
    entry(2, "B", "long", after1=0.75, after4=None),
    entry(2, "C", "short", after1=-0.5),
]


def test_a_journal_goes_on_where_it_was_left() -> None:
    entries = latest(WRITTEN)
    assert [(one.symbol, len(one.returns)) for one in entries] == [("A", 2), ("B", 2), ("C", 1)]

    found = Journal.of(entries, (1, 4))
    again = scan(2, "D").result
    assert found.note(again) == 0
    (changed,) = found.close("15m", 6, lambda symbol, bar: 150.0)
    assert (changed.symbol, changed.returns) == ("C", {1: -0.5, 4: 0.5})


def test_what_came_after_hits_is_told_in_their_direction() -> None:
    rows = list(outcomes(latest(WRITTEN)))

    assert [(row["side"], row["bars"], row["hits"], row["due"]) for row in rows] == [
        ("long", 1, 2, 2), ("long", 4, 2, 1), ("short", 1, 1, 1),
    ]  # fmt: skip
    assert [row["mean"] for row in rows] == [0.5, -0.5, 0.5]
    assert [row["up"] for row in rows] == [1.0, 0.0, 1.0]
    (nothing,) = outcomes([entry(1, "A", "flat")])
    assert (nothing["hits"], nothing["due"], nothing["mean"]) == (1, 0, None)


def test_a_journal_is_printed_and_one_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hits.jsonl"
    with pytest.raises(DefinitionError, match="There is no journal"):
        journal({"path": file, "as_json": True})

    append_lines(file, WRITTEN)
    journal({"path": file, "as_json": True})
    rows = msgspec.json.decode(capsys.readouterr().out)
    assert [row["mean"] for row in rows] == [0.5, -0.5, 0.5]
    journal({"path": file, "as_json": False})
    assert "50.00%" in capsys.readouterr().out
