"""What klinehub.toml has followed: screens, rules and where their hits go."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klinehub.app.config import Config, load
from klinehub.app.following import keeping, own_screens, signals_of
from klinehub.domain.timeframe import in_order
from klinehub.errors import UnknownName

TEXT = """
[screens.dips]
where = "rsi_2h < 30 and funding < 0"

[watch.held]
symbols = ["BTCUSDT"]
when = "rsi > 70"
timeframe = "5m"

[webhooks.desk]
url = "https://hooks.example.com/x"
secret = "sixteen characters"
screens = ["dips"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return load(path, {})


def hub() -> Any:
    return SimpleNamespace(timeframes=in_order(("1m",)), now=lambda: 0, listings={})


def test_screens_and_rules_are_followed_and_what_they_read_is_kept(config: Config) -> None:
    screens = own_screens(config)
    kept = keeping(config, screens).hub

    assert [screen.name for screen in screens] == ["dips", "held"]
    assert set(kept.timeframes) == {"1m", "5m", "15m", "1h", "2h"}
    assert kept.marks
    assert own_screens(Config()) == []
    assert keeping(config, []) == config


def test_a_webhook_for_a_screen_that_is_not_there_is_refused_with_the_nearest(config: Config) -> None:
    screens = own_screens(config)
    assert [hook.name for hook in signals_of(hub(), config, "x", screens).hooks] == ["desk"]

    with pytest.raises(UnknownName, match=r"screen of webhooks\.desk 'dips'"):
        signals_of(hub(), config, "x", screens[1:])
