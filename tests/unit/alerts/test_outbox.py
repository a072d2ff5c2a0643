import stat
from pathlib import Path

import apsw
import pytest

from klinehub.alerts.outbox import MEMORY, Decision, Edges, Fired, Outbox, Outcome
from klinehub.errors import StoreError
from klinehub.scan.alerts import Alert, key_of

NOW = 1_700_000_000_000


def alert(symbol: str = "BTCUSDT", bar: int = NOW, rule: str = "dips") -> Alert:
    return Alert(
        screen=rule,
        symbol=symbol,
        pair=f"{symbol[:-4]}/USDT:USDT",
        timeframe="15m",
        bar_open_time=bar,
        side="long",
        score=51.25,
        price=97_123.5,
        revision=0,
        stale=None,
        columns={"rsi": 28.5},
        rule=rule,
        key=key_of(rule, symbol, "15m", bar),
    )


def fired(*symbols: str, to: tuple[str, ...] = ("phone",)) -> tuple[Fired, ...]:
    return tuple(Fired(alert(symbol), to) for symbol in symbols)


def opened(path: Path | str = MEMORY, *, most: int = 100_000) -> Outbox:
    return Outbox(path, now=NOW, most=most)


def states(outbox: Outbox) -> list[list[tuple[str, str]]]:
    return [[(one.target, one.state) for one in logged.deliveries] for logged in outbox.entries()]


def test_what_is_decided_is_there_after_a_restart_and_its_key_keeps_it_from_coming_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own" / "alerts.db"
    edges = (Edges("dips", "abc", b"\x01\x02"),)
    outbox = opened(path)
    first = outbox.decided(Decision(NOW, fired("BTCUSDT"), {"15m": 7}, edges, ("BTCUSDT", "ETHUSDT")))
    outbox.close()

    outbox = opened(path)
    again = outbox.decided(Decision(NOW + 1, fired("BTCUSDT", "ETHUSDT"), {"15m": 8}))

    assert [one.id for one in first] == [1]
    assert [one.alert.symbol for one in again] == ["ETHUSDT"]
    assert outbox.standing() == (("BTCUSDT", "ETHUSDT"), edges, {"15m": 8})
    assert [one.kept.alert for one in outbox.entries()] == [alert("BTCUSDT"), alert("ETHUSDT")]
    outbox.close()


def test_only_this_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "own" / "alerts.db"
    outbox = opened(path)

    modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}

    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    outbox.close()


def test_alerts_that_are_due_go_into_one_message_and_are_not_due_again() -> None:
    outbox = opened()
    outbox.decided(Decision(NOW, fired("BTCUSDT", "ETHUSDT", to=("phone", "desk"))))

    due = outbox.due("phone", NOW)
    message = outbox.claim("phone", [one.id for one in due], NOW)

    assert [one.alert.symbol for one in message.alerts] == ["BTCUSDT", "ETHUSDT"]
    assert outbox.due("phone", NOW) == []
    assert outbox.unsettled("phone", NOW) == [message]
    assert len(outbox.due("desk", NOW)) == 2
    outbox.settled(message, Outcome("sent"), NOW + 5)
    assert outbox.unsettled("phone", NOW + 10**9) == []
    assert outbox.next_due("phone") is None
    assert states(outbox)[0] == [("desk", "waiting"), ("phone", "sent")]


def test_a_message_that_failed_comes_back_as_it_was_when_its_time_has_come() -> None:
    outbox = opened()
    outbox.decided(Decision(NOW, fired("BTCUSDT")))
    message = outbox.claim("phone", [1], NOW)

    outbox.settled(message, Outcome("failed", "status 503", NOW + 4_000), NOW + 1)

    assert outbox.unsettled("phone", NOW + 3_999) == []
    (again,) = outbox.unsettled("phone", NOW + 4_000)
    assert (again.id, again.alerts, again.attempts) == (message.id, message.alerts, 1)
    assert outbox.next_due("phone") == NOW + 4_000
    assert states(outbox) == [[("phone", "failed")]]


def test_what_was_claimed_when_everything_stopped_is_sent_again_with_its_id(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    outbox = opened(path)
    outbox.decided(Decision(NOW, fired("BTCUSDT")))
    message = outbox.claim("phone", [1], NOW)
    outbox.close()

    outbox = Outbox(path, now=NOW + 60_000)

    assert outbox.unsettled("phone", NOW + 60_000) == [message]
    outbox.close()


def test_quiet_hours_put_off_what_waits_and_what_is_to_be_tried_again_stays() -> None:
    outbox = opened()
    outbox.decided(Decision(NOW, fired("BTCUSDT")))

    outbox.hush("phone", NOW, NOW + 3_600_000)

    assert outbox.due("phone", NOW + 3_599_999) == []
    assert outbox.next_due("phone") == NOW + 3_600_000
    assert states(outbox) == [[("phone", "quiet")]]
    assert len(outbox.due("phone", NOW + 3_600_000)) == 1


def test_a_target_that_is_gone_gets_nothing_and_that_is_told() -> None:
    outbox = opened()
    outbox.decided(Decision(NOW, fired("BTCUSDT", to=("phone", "gone"))))
    outbox.claim("gone", [1], NOW)

    outbox.retain(["phone"], NOW + 1)

    assert states(outbox) == [[("gone", "given_up"), ("phone", "waiting")]]
    assert outbox.unsettled("gone", NOW + 1) == []


def test_what_is_too_old_is_in_the_log_and_never_due() -> None:
    outbox = opened()

    outbox.decided(Decision(NOW, (Fired(alert(), ("phone",), "too old"),)))

    assert outbox.due("phone", NOW) == []
    (logged,) = outbox.entries()
    assert (logged.deliveries[0].state, logged.deliveries[0].detail) == ("given_up", "too old")


def test_the_oldest_alerts_make_room() -> None:
    outbox = opened(most=10)
    for n in range(300):
        outbox.decided(Decision(NOW + n, (Fired(alert(bar=NOW + n), ("phone",)),)))
        outbox.settled(outbox.claim("phone", [n + 1], NOW), Outcome("sent"), NOW)

    found = outbox.entries(limit=10_000)

    assert found[-1].kept.id == 300
    assert 10 <= len(found) < 300
    assert outbox.counts() == {("phone", "sent"): len(found)}


def test_the_log_is_read_on_from_a_number_and_of_one_symbol() -> None:
    outbox = opened()
    outbox.decided(Decision(NOW, fired("BTCUSDT", "ETHUSDT", "SOLUSDT")))

    assert [one.kept.id for one in outbox.entries(limit=2)] == [2, 3]
    assert [one.kept.id for one in outbox.entries(after=1)] == [2, 3]
    assert [one.kept.id for one in outbox.entries(symbol="ETHUSDT")] == [2]
    assert outbox.fired() == {"dips": 3}


def test_rules_of_the_board_are_kept_until_they_are_dropped() -> None:
    outbox = opened()
    outbox.put_rule("dips", "{}")
    outbox.put_rule("dips", '{"where":"rsi < 30"}')
    outbox.decided(Decision(NOW, edges=(Edges("dips", "abc", b""), Edges("peaks", "abc", b""))))

    assert outbox.rules() == {"dips": '{"where":"rsi < 30"}'}
    outbox.drop_rule("dips")
    outbox.decided(Decision(NOW, gone=("dips",)))
    assert outbox.rules() == {}
    assert [one.rule for one in outbox.standing().edges] == ["peaks"]


def test_a_second_hub_and_a_newer_file_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    outbox = opened(path)
    with pytest.raises(StoreError, match=r"alerts\.path"):
        opened(path)
    outbox.close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", 99)
    db.close()

    with pytest.raises(StoreError, match="upgrade klinehub"):
        opened(path)


def test_a_damaged_file_is_put_aside_and_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)

    outbox = opened(path)

    assert "alerts.db.damaged" in outbox.notice
    assert outbox.decided(Decision(NOW, fired("BTCUSDT")))
    assert (tmp_path / "alerts.db.damaged").exists()
    outbox.close()
