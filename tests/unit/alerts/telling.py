"""Alerts and messages as tests need them."""

from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from klinehub.alerts.message import Style
from klinehub.alerts.outbox import Kept, Message
from klinehub.alerts.texts import texts
from klinehub.scan.alerts import Alert, key_of
from klinehub.scan.likeness import Likeness, Outcome

# 2023-11-14 22:15:00 UTC, a bar's open; the bar ends 15 minutes later.
BAR: Final = 1_700_000_100_000
END: Final = BAR + 900_000
DAY: Final = 86_400_000
LIKE: Final = Likeness(
    *("score", 28_872, 258, -68.02, -48.95, BAR - 365 * DAY, BAR),
    outcomes=tuple(
        Outcome(bars, 28_872, 0.0032 * bars / 24, (-0.0036, 0.00999), 0.471) for bars in (1, 4, 24, 96)
    ),
)
URL: Final = "http://127.0.0.1:8787"


def alert(symbol: str = "BTCUSDT", rule: str = "oversold", bar: int = BAR, **changed: Any) -> Alert:
    usual: dict[str, Any] = {
        "side": "short",
        "score": -51.5,
        "price": 97_123.5,
        "revision": 0,
        "stale": None,
        "contributions": {"trend": -30.5, "momentum": -15.5, "volume": -5.5, "rest": 0.25},
        "columns": {"rsi_1h": 28.412, "volume_surge": 2.6112},
        "change": -0.42,
        "change_24h": -3.1,
        "turnover": 12_345_678_901.0,
        "evidence": LIKE,
    }
    return Alert(
        screen=rule,
        rule=rule,
        symbol=symbol,
        pair=f"{symbol.removesuffix('USDT')}/USDT:USDT",
        timeframe="15m",
        bar_open_time=bar,
        key=key_of(rule, symbol, "15m", bar),
        **usual | changed,
    )


def kept(number: int = 1, time: int = END + 2_000, **changed: Any) -> Kept:
    return Kept(number, time, alert(**changed))


def message(alerts: Sequence[Kept], number: int = 1, attempts: int = 0) -> Message:
    return Message(number, f"18bcfe5-{number}", "phone", alerts[-1].time, attempts, tuple(alerts))


def style(language: str = "en", zone: str = "UTC") -> Style:
    return Style(texts(language), ZoneInfo(zone), URL)
