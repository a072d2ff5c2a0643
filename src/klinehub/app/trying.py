"""Trying a target out without a hub: the settings are enough to send a test."""

from typing import Final

from klinehub.alerts.delivering import Tried
from klinehub.alerts.outbox import Kept
from klinehub.alerts.posting import Ended
from klinehub.app.alerting import posts_of
from klinehub.app.config import Config
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe
from klinehub.errors import UnknownName
from klinehub.scan.alerts import Alert, key_of

_FRAME: Final = "15m"
_RULE: Final = "test"
# Where links of a test begin that no hub serves a board for.
_BOARD: Final = "http://127.0.0.1:8787"


async def tried(config: Config, name: str, clock: Clock) -> Tried:
    """Send a test to the target *name* of the settings; raises UnknownName for one that is not there."""
    url = config.alerts.url or _BOARD
    posts = {post.name: post for post in posts_of(config, url, now=clock.now, listing=lambda _: None)}
    if name not in posts:
        raise UnknownName("target", name, posts)
    answer = await posts[name].test(_sample(clock.now()))
    return Tried(name, answer.ended is Ended.TAKEN, answer.detail)


def _sample(now: int) -> Kept:
    """Give an alert as it might be, of the bar that closed last."""
    frame = timeframe(_FRAME)
    bar = frame.open_time(frame.index(now) - 1)
    alert = Alert(
        screen=_RULE,
        rule=_RULE,
        symbol="BTCUSDT",
        pair="BTC/USDT:USDT",
        timeframe=_FRAME,
        bar_open_time=bar,
        side="flat",
        score=None,
        price=12_345.6,
        revision=0,
        stale=None,
        columns={"rsi": 28.5},
        change=-0.42,
        change_24h=1.23,
        turnover=1.5e9,
        key=key_of(_RULE, "BTCUSDT", _FRAME, bar),
    )
    return Kept(0, now, alert)
