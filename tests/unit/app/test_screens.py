"""Screens and rules of klinehub.toml: what text becomes, and what is wrong with it."""

from pathlib import Path

import pytest

from klinehub.app.config import load
from klinehub.app.screens import ScreenText, WatchText
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.expr import field
from klinehub.factors.stock import stock_factor
from klinehub.scan.scanner import default_screen
from klinehub.scan.watch import stop_within, trend_flip, turned

BASE = default_screen(("5m", "15m", "1h"), "15m")
RSI, CLOSE = stock_factor("rsi")(), field("close")


def test_a_screen_is_what_its_text_says() -> None:
    text = ScreenText(
        where="rsi_1h < 30 and score > 0", columns={"z": "volume_z"}, order_by="-volume_z", score=True
    )
    screen = text.screen("dips", BASE, 7)

    assert (screen.name, screen.timeframe, screen.top, screen.score) == ("dips", "15m", 7, BASE.score)
    assert screen.columns == {"z": stock_factor("volume_z")()}
    assert screen.order_by == -stock_factor("volume_z")()
    assert ScreenText(top=3, timeframe="1h").screen("all", BASE, 7).top == 3
    assert ScreenText().screen("all", BASE, 7).score == ()


def test_a_rule_is_told_when_it_comes_to_hold_or_at_every_bar() -> None:
    held = ("BTCUSDT",)
    once = WatchText(symbols=held, when="rsi > 70", stop=90_000.0).screen("mine", BASE)
    always = WatchText(symbols=held, when="rsi > 70", stop=90_000.0, every_bar=True).screen("mine", BASE)
    flip = WatchText(symbols=held, flip=True, timeframe="1h").screen("flip", BASE)

    assert once.where == turned(RSI > 70) | turned(stop_within(90_000.0, 2.0))
    assert always.where == (RSI > 70) | stop_within(90_000.0, 2.0)
    assert (flip.where, flip.timeframe, flip.symbols) == (trend_flip(), "1h", held)
    with pytest.raises(DefinitionError, match="watches BTCUSDT for nothing"):
        WatchText(symbols=held).screen("mine", BASE)


def test_tables_of_the_file_are_screens_and_rules(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[screens.dips]\nwhere = "rsi < 30"\n[screens.movers]\ntop = 3\n'
        '[watch.longs]\nsymbols = ["BTCUSDT"]\nflip = true\n'
    )
    config = load(path, {})

    assert list(config.screens) == ["dips", "movers"]
    assert config.watch["longs"] == WatchText(symbols=("BTCUSDT",), flip=True)


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        ('[screens.dips]\nwher = "rsi < 30"\n', DefinitionError, "wher"),
        ("[watch.longs]\nflip = true\n", DefinitionError, "symbols"),
        ("[screens]\ndips = 3\n", DefinitionError, "screens"),
        ("[screen.dips]\ntop = 3\n", UnknownName, "Did you mean 'screens'"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, table: str, error: type[Exception], said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(table)

    with pytest.raises(error, match=said):
        load(path, {})
