"""What messages say: each line in its place, in each language, within the room that a service has."""

import inspect
import json
import re
from string import Formatter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.alerts.telling import END, LIKE, alert, kept, message, style

from klinehub.alerts import message as module
from klinehub.alerts.message import link_of, tried, written
from klinehub.alerts.texts import LANGUAGES, texts

ROOM = 4_096
SAMPLE_ZH = "样本 28,872，2022-11-14..2023-11-14"
SAMPLE = "n 28,872, 2022-11-14..2023-11-14"


def test_an_alert_says_who_what_at_what_price_why_when_where_and_which() -> None:
    said = written(message([kept()]), style(), ROOM)

    assert said.title == "BTCUSDT 15m: oversold"
    assert said.body.splitlines() == [
        "rsi_1h 28.41, volume_surge 2.611",
        "price 97,123.5 USDT, bar -0.42%, 24 h -3.10%; turnover of 24 h 12.35B USDT",
        "score -51.5, short: trend -30.5, momentum -15.5, volume -5.5",
        f"scores like this: +0.32% median over 24 bars [-0.36, +1.00], 47% went its way, {SAMPLE}",
        "bar closed 2023-11-14 22:30 UTC",
        "http://127.0.0.1:8787/?view=symbol&symbol=BTCUSDT&tf=15m&at=1700001000000",
        f"klinehub {alert().key}",
    ]


def test_an_alert_in_chinese_and_by_the_clock_of_shanghai() -> None:
    said = written(message([kept()]), style("zh", "Asia/Shanghai"), ROOM)

    assert said.title == "BTCUSDT 15m：oversold"
    assert said.body.splitlines()[1:5] == [
        "价格 97,123.5 USDT，本根K线 -0.42%，24小时 -3.10%；24小时成交额 123.5亿 USDT",
        "评分 -51.5，看空：trend -30.5，momentum -15.5，volume -5.5",
        f"历史上相近评分：24 根K线后收益中位数 +0.32% [-0.36, +1.00]，47% 方向一致，{SAMPLE_ZH}",
        "K线收于 2023-11-15 06:30 CST",
    ]


def test_what_is_not_known_has_no_line_and_what_is_in_doubt_has_one() -> None:
    bare = kept(
        score=None,
        columns={"rsi": None},
        change=None,
        change_24h=None,
        turnover=None,
        price=1.25e-7,
        evidence=None,
    )
    doubtful = kept(forming=True, stale="closed bars are missing")

    assert written(message([bare]), style(), ROOM).body.splitlines()[:3] == [
        "price 0.000000125 USDT",
        "no evidence for this screen",
        "bar closed 2023-11-14 22:30 UTC",
    ]
    lines = written(message([doubtful]), style(), ROOM).body.splitlines()
    assert "bar of 2023-11-14 22:15 UTC is still open: all this may change" in lines
    assert "not proven fresh: closed bars are missing" in lines


def test_evidence_that_is_thin_says_so_and_what_has_no_interval_claims_none() -> None:
    one = msgspec.structs.replace(LIKE.outcomes[2], interval=None)
    thin = msgspec.structs.replace(LIKE, n=7, days=3, outcomes=(one,), thin="thin: 7 hits on 3 days")

    said = written(message([kept(evidence=thin)]), style(), ROOM).body

    assert "+0.32% median over 24 bars, 47% went its way" in said
    assert "(thin: 7 hits on 3 days)" in said


def test_the_link_shows_the_moment_that_the_alert_is_of() -> None:
    assert link_of("https://x.test/c/s/", alert("千USDT"), 0) == (
        f"https://x.test/c/s/?view=symbol&symbol=%E5%8D%83USDT&tf=15m&at={END}"
    )
    assert link_of("https://x.test", alert(forming=True), 123).endswith("&at=123")


def test_without_a_board_there_is_no_link() -> None:
    nowhere = style()._replace(url="")

    assert "?" not in written(message([kept()]), nowhere, ROOM).body
    assert "?" not in written(message(storm(20)), nowhere, ROOM).body


def storm(count: int) -> list[Any]:
    return [
        kept(
            n,
            time=END + n * 60_000,
            symbol=f"S{n}USDT",
            rule="breakout" if n % 4 == 0 else "oversold",
            score=None if n == count - 1 else float(-n),
        )
        for n in range(count)
    ]


def test_a_digest_counts_by_rule_names_the_strongest_and_says_where_the_rest_is() -> None:
    said = written(message(storm(200)), style(), ROOM)

    lines = said.body.splitlines()
    assert said.title == "200 alerts, 2023-11-14 22:30 - 2023-11-15 01:49 UTC"
    assert lines[0] == "oversold 150, breakout 50"
    assert lines[1] == "S198USDT 15m oversold: 97,123.5, -0.42%, score -198.0"
    assert lines[11:] == ["and 190 more", "http://127.0.0.1:8787/?tf=15m", "klinehub 18bcfe5-1"]


def test_a_digest_of_quiet_hours_says_so_and_one_alert_of_them_is_none() -> None:
    assert "during quiet hours" in written(message(storm(2)), style(), ROOM, quiet=True).title
    assert written(message([kept()]), style(), ROOM, quiet=True) == written(message([kept()]), style(), ROOM)


def test_a_test_says_that_it_is_one_and_shows_an_alert() -> None:
    said = tried(kept(), style(), ROOM)

    assert said.title == "Test: BTCUSDT 15m: oversold"
    assert said.body.startswith("This is a test")
    assert f"klinehub {alert().key}" in said.body


@pytest.mark.parametrize("language", LANGUAGES)
@given(room=st.integers(400, 2_000), count=st.integers(1, 60))
@settings(max_examples=50)
def test_a_message_fits_its_room_and_never_loses_its_link_and_name(
    language: str, room: int, count: int
) -> None:
    made = message(storm(count)[:-1] or [kept()])

    said = written(made, style(language), room)

    assert len(f"{said.title}\n{said.body}".encode()) <= room
    link, name = said.body.splitlines()[-2:]
    assert link.startswith("http://127.0.0.1:8787/?")
    assert name.startswith("klinehub ")


def test_control_characters_of_a_listing_reach_no_messenger() -> None:
    said = written(message([kept(symbol="A\x1b[2J\nBUSDT")]), style(), ROOM)

    assert said.title == "A?[2J?BUSDT 15m: oversold"


def words(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_no_text_is_missing_in_any_language_and_none_is_left_over() -> None:
    english, *others = (texts(language).by_key for language in LANGUAGES)
    source = inspect.getsource(module)
    named = set(re.findall(r'"([a-z]+\.[a-z.]+|units)"', source))
    sides = {f"side.{side}" for side in ("long", "short", "flat")}

    assert set(english) == named | sides
    for other in others:
        assert {key: words(text) for key, text in other.items()} == {
            key: words(text) for key, text in english.items()
        }
        assert all(text.strip() for text in other.values())
        assert list(other) == list(english)


def test_each_language_is_its_own() -> None:
    english, chinese = texts("en").by_key, texts("zh").by_key
    same = {key for key in english if english[key] == chinese[key]}

    assert same == {"digest.rule", "message.name"}
    assert re.search(r"[\u4e00-\u9fff]", json.dumps(chinese, ensure_ascii=False))
