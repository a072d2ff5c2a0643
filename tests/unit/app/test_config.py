"""Settings: file, environment and options, the later over the earlier, and what is wrong with each."""

from pathlib import Path

import pytest

from klinehub.app.config import TABLES, load
from klinehub.app.markets import settings_of
from klinehub.domain.universe_rules import Rules
from klinehub.errors import DefinitionError, UnknownName
from klinehub.settings import HubSettings


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[market]\nbars = 100\nquote = "USDC"\ntimeframes = ["5m", "1h"]\n[scan]\nweights = { rsi = 3 }\n'
    )
    return path


def test_without_anything_a_hub_gets_its_own_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert load(None, {}).hub == HubSettings()


def test_options_win_over_the_environment_and_that_over_the_file(toml: Path) -> None:
    environ = {
        "KLINEHUB_MARKET_BARS": "200",
        "KLINEHUB_MARKET_SYMBOLS": "BTCUSDT, ETHUSDT",
        "HOME": "/nowhere",
    }

    hub = load(toml, environ, {"market.bars": 300, "scan.min_score": None}).hub

    assert (hub.bars, hub.quote, hub.symbols) == (300, "USDC", ("BTCUSDT", "ETHUSDT"))
    assert (hub.timeframes, hub.weights) == (("5m", "1h"), {"rsi": 3.0})
    assert load(toml, environ).hub.bars == 200


def test_klinehub_toml_of_the_folder_is_read_without_being_named(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toml.parent)
    toml.rename("klinehub.toml")

    assert load(None, {}).hub.bars == 100


def test_every_hub_setting_and_rule_has_one_key_but_for_streams_which_commands_decide() -> None:
    fields = [field for keys in TABLES.values() for field in keys.values()]

    assert len(fields) == len(set(fields))
    assert set(HubSettings.__struct_fields__) - set(fields) == {"streams", "rules"}
    rules = {field.removeprefix("rules.") for field in fields if field.startswith("rules.")}
    assert rules == set(Rules.__struct_fields__)


def test_the_rules_of_the_universe_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[universe]\nchoose = true\nelite_turnover = 5e6\nelite_turnover_keep = 4e6\n")

    hub = load(path, {"KLINEHUB_UNIVERSE_PINS": "BTCUSDT,ETHUSDT", "KLINEHUB_UNIVERSE_MOST": "none"}).hub

    assert (hub.choose, hub.rules.elite_turnover, hub.rules.most) == (True, 5e6, None)
    assert hub.rules.pins == ("BTCUSDT", "ETHUSDT")
    with pytest.raises(DefinitionError, match=r"`universe\.elite_turnover_keep` is 7e\+06"):
        load(None, {"KLINEHUB_UNIVERSE_ELITE_TURNOVER": "5e6"})
    with pytest.raises(DefinitionError, match=r"universe\.elite_hours"):
        load(None, {"KLINEHUB_UNIVERSE_ELITE_HOURS": "many"})


def test_a_share_of_none_lifts_the_limit() -> None:
    assert load(None, {"KLINEHUB_EXCHANGE_SHARE": "none"}).hub.share is None
    assert load(None, {"KLINEHUB_SCAN_WEIGHTS": '{"adx": 2}'}).hub.weights == {"adx": 2.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[markte]\nbars = 1\n", "Did you mean 'market'?"),
        ("[market]\nbarz = 1\n", "Did you mean 'market.bars'?"),
        ("[market]\nbars = 'many'\n", "market.bars"),
        ("market = 3\n", "has to be a table"),
        ("[market\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "klinehub.toml"
    path.write_text(text)

    with pytest.raises(DefinitionError) as caught:
        load(path, {})

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KLINEHUB_MARKET_BAR", "1", "Did you mean 'market.bars'?"),
        ("KLINEHUB_MARKETS_BARS", "1", "KLINEHUB_MARKET_"),
        ("KLINEHUB_MARKET_BARS", "x", "market.bars"),
        ("KLINEHUB_SCAN_WEIGHTS", "rsi=3", "JSON"),
    ],
)
def test_a_wrong_variable_is_told_by_name(name: str, value: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(None, {name: value})

    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_only_when_it_was_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_an_unknown_name_knows_what_it_was() -> None:
    error = UnknownName("factor", "rsj", ["rsi", "adx"])

    assert (error.kind, error.name) == ("factor", "rsj")
    assert str(error) == "Unknown factor 'rsj'. Did you mean 'rsi'?"
    assert str(UnknownName("symbol", "ZZZZ", [f"A{n}" for n in range(20)])).endswith("A14, A15, ….")


def test_webhooks_are_tables_by_name_and_no_secret_is_in_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "klinehub.toml"
    fits = '[webhooks.desk]\nurl = "https://hooks.example.com/canary"\nsecret = "canary-canary-canary"\n'
    path.write_text(fits + 'screens = ["dips"]\nformat = "freqtrade"\nside = "long"\n')
    hook = load(path, {}).webhooks["desk"]

    assert (hook.host, hook.screens, hook.format, hook.side) == (
        "hooks.example.com", ("dips",), "freqtrade", "long",
    )  # fmt: skip
    for wrong in ('format = "xml"', 'sceens = ["dips"]', "secret = 5", "allow_private = 3"):
        path.write_text(fits.replace("secret", "# ") + wrong if "secret" in wrong else fits + wrong)
        with pytest.raises(DefinitionError) as refused:
            load(path, {})
        assert "canary" not in str(refused.value)


def test_further_markets_have_tables_and_share_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[exchange]\nalso = ["binance-spot", "binance-coinm"]\nrest_url = "http://here:1"\n'
        '[market]\nsymbols = ["BTCUSDT"]\ntimeframes = ["1m"]\npanel_file = "/run/panel"\n'
        "[markets.binance-spot]\nmin_turnover = 5.0\nbars = 80\n"
        '[markets.binance-coinm]\nsymbols = ["BTCUSD_PERP"]\nrest_url = "http://there:1"\n'
    )
    config = load(path, {})
    spot, coins = (settings_of(config, name) for name in config.also)

    assert (spot.min_turnover, spot.bars, spot.symbols, spot.quote) == (5.0, 80, (), "USDT")
    assert (spot.rest_url, spot.timeframes) == ("https://api.binance.com", ("1m",))
    assert spot.panel_file == "/run/panel-binance-spot"
    assert (coins.symbols, coins.rest_url, coins.quote) == (("BTCUSD_PERP",), "http://there:1", "USD")
    assert load(path, {"KLINEHUB_EXCHANGE_ALSO": "binance-spot"}).also == ("binance-spot",)
    assert load(path, {}, {"exchange.also": ["binance-coinm"]}).also == ("binance-coinm",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[exchange]\nalso = ["binance-spto"]', "binance-spot"),
        ('[exchange]\nalso = ["binance-usdm"]', "once"),
        ('[exchange]\nalso = ["binance-spot", "binance-spot"]', "once"),
        ("[markets.binance-spto]\nbars = 5", "binance-spot"),
        ("[markets.binance-spot]\nbarz = 5", "barz"),
    ],
)
def test_a_market_that_is_none_is_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises((DefinitionError, UnknownName), match=said):
        load(path, {})
