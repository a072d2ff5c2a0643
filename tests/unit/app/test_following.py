"""What klinehub.toml has followed: screens, rules and where their hits go."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from klinehub.app.alerting import log_file, open_log
from klinehub.app.config import Config, load
from klinehub.app.following import keeping, own_screens, rules_of, signals_of, whole
from klinehub.domain.timeframe import in_order
from klinehub.errors import DefinitionError, StoreError, UnknownName

TEXT = """
[screens.dips]
where = "rsi_2h < 30 and funding < 0"

[watch.held]
symbols = ["BTCUSDT"]
when = "rsi > 70"
timeframe = "5m"

[rules.oversold]
where = "rsi_4h < 30 and open_interest > 0"
clear = "rsi_1d > 40"
timeframe = "30m"
cooldown = 4
to = ["desk"]

[rules.found]
screen = "dips"

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


def test_rules_are_made_of_their_text_and_what_they_read_is_kept(config: Config) -> None:
    rules = rules_of(config)
    kept = keeping(config, whole(rules)).hub

    assert [(rule.name, rule.timeframe, rule.cooldown, rule.to) for rule in rules] == [
        ("oversold", "30m", 4, ("desk",)),
        ("found", "15m", 0, ()),
    ]
    assert repr(rules[1].screen.where) == repr(own_screens(config)[0].where)
    assert {"30m", "4h", "1d"} <= set(kept.timeframes)
    assert (bool(kept.open_interest), kept.marks) == (True, True)


def test_a_rule_that_can_not_be_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[rules.a]\nwhere = "rsii < 30"\n')

    with pytest.raises(UnknownName, match="rsi"):
        rules_of(load(path, {}))
    path.write_text('[rules.a]\nwhere = "rsi < 30"\ncoldown = 3\n')
    with pytest.raises(DefinitionError, match="coldown"):
        load(path, {})


def test_a_webhook_for_a_screen_that_is_not_there_is_refused_with_the_nearest(config: Config) -> None:
    screens = own_screens(config)
    signals_of(hub(), config, "x", screens)

    with pytest.raises(UnknownName, match=r"screen of webhooks\.desk 'dips'"):
        signals_of(hub(), msgspec.structs.replace(config, alert_rules={}), "x", screens[1:])


def test_the_log_lies_beside_the_store_of_the_exchange_and_a_simulated_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def file(**settings: Any) -> Path | None:
        return log_file(load(None, {f"KLINEHUB_{name}": value for name, value in settings.items()}))

    assert file() == tmp_path / "data" / "klinehub" / "binance-usdm" / "alerts.db"
    assert file(STORE_PATH="/kept") == Path("/kept/binance-usdm/alerts.db")
    assert file(STORE_PATH="off") == file()
    assert file(ALERTS_PATH="off") is None
    assert file(ALERTS_PATH="/else/log.db") == Path("/else/log.db")
    assert file(EXCHANGE_REST_URL="http://127.0.0.1:9000") is None


def test_a_log_that_can_not_be_opened_is_told_and_one_that_was_named_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    usual = load(None, {})
    first = open_log(usual, 0)
    with pytest.warns(UserWarning, match="in memory alone"):
        open_log(usual, 0).close()
    named = load(None, {"KLINEHUB_ALERTS_PATH": first.path})
    with pytest.raises(StoreError, match="in use by process"):
        open_log(named, 0)
    first.close()
