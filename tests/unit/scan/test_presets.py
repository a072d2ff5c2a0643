"""Presets and the filter box: screens made of names and of text."""

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.stock import stock_factor
from klinehub.scan.presets import PRESETS, asked, filtered, preset
from klinehub.scan.scanner import default_screen

FRAMES = ("5m", "15m", "1h")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_screen_with_a_condition_columns_and_an_order(name: str) -> None:
    screen = preset(name, "15m")

    assert (screen.name, screen.timeframe, screen.score) == (name, "15m", ())
    assert screen.where is not None
    assert screen.order_by is not None
    assert len(screen.columns) >= 4


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'breakout'"):
        preset("brakeout")


def test_a_condition_narrows_the_default_score_and_shows_what_it_reads() -> None:
    base = default_screen(FRAMES, "15m")
    screen = filtered("score > 40 and rsi_1h < 60 and age > 30d and rsi(7) > 1 and volume > 3M", base)

    assert list(screen.columns) == ["rsi_1h", "rsi(7)", "volume"]
    assert screen.columns["rsi_1h"] == stock_factor("rsi")().on("1h")
    assert screen.score == base.score
    assert screen.hash != base.hash
    assert {term.op for term in [screen.where] if term is not None} == {"&"}


def test_a_condition_narrows_a_preset_besides_its_own() -> None:
    plain, narrow = preset("squeeze"), asked(default_screen(FRAMES), where="adx > 20", name="squeeze")

    assert narrow.where is not None
    assert narrow.where.args[0] == plain.where
    assert list(narrow.columns) == [*plain.columns, "adx"]
    assert asked(plain) is plain


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rsi + 1", "condition|compar"),
        ("rsy < 3", "Did you mean 'rsi'"),
        ("score > 3", "Unknown name 'score'"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        filtered(text, preset("squeeze"))
