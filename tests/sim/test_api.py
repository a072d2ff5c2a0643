"""The own API of a live hub on virtual time: what it answers, in every form, and how it refuses."""

import asyncio
import csv
import io
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from tests.sim.served import Lent, lend
from tests.sim.worlds import HOUR, World

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.webhook import Way, Webhook, open_session
from klinehub.domain.stale import Reason
from klinehub.factors.expr import field
from klinehub.scan.screen import Screen
from klinehub.scan.watch import watch
from klinehub.serve.api import ROUTES
from klinehub.serve.scan_desk import AT_A_TIME, MOST_WAITING
from klinehub.settings import WebhookSettings

pytestmark = pytest.mark.timeout(180)
CLOSE: Final = field("close")
CHEAP: Final = Screen(name="cheap", timeframe="1m", where=CLOSE < 1_000, columns={"price": CLOSE})
HELD: Final = watch("held", ["BTCUSDT"], CLOSE > 0, "1m")


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_list_is_there_as_json_and_as_csv_with_the_same_rows() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        lists = [route for route in ROUTES if route.rows and route.body is None]
        assert [route.path.rpartition("/")[2] for route in lists] == [
            "symbols", "screens", "factors", "universe", "gaps", "corrections", "alerts", "rules", "targets",
        ]  # fmt: skip
        for route in lists:
            plain, as_json, as_csv = [await lent.ask(f"{route.path}{form}") for form in ("", ".json", ".csv")]
            assert {plain.status, as_json.status, as_csv.status} == {200}, route.path
            assert plain.headers["Content-Type"] == "application/json"
            assert as_csv.headers["Content-Type"] == "text/csv"
            assert len(plain.json) == len(as_json.json) == len(table(as_csv.text)), route.path
            assert as_csv.text.splitlines()[0], route.path

    lend(test, screens=[CHEAP])


def test_status_symbols_and_universe_say_what_is_followed() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        status, symbols = (await lent.ask("/api/v1/status")).json, (await lent.ask("/api/v1/symbols")).json

        assert (status["exchange"], status["ready"], status["symbols"]) == ("binance-usdm", True, 4)
        assert status["timeframes"] == ["1m", "5m", "15m", "1h"]
        assert status["counts"]["closed_bars"] > 0
        hub = lent.world.hub
        assert [row["symbol"] for row in symbols] == list(hub.symbols)
        assert symbols[0]["pair"] == "BTC/USDT:USDT"
        assert symbols[0]["close"] == hub.klines("BTCUSDT", "1m", 1)["close"][0]
        assert [row["symbol"] for row in (await lent.ask("/api/v1/universe")).json] == list(
            hub.merged.symbols
        )

    lend(test)


def test_klines_are_those_of_the_hub_in_every_form_and_layout() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        wanted: dict[str, Any] = {"symbol": "ETHUSDT", "timeframe": "1m", "limit": 20}
        kept = lent.world.hub.klines("ETHUSDT", "1m", 20)

        rows = (await lent.ask("/api/v1/klines", **wanted)).json
        assert rows["stale"] is None
        assert [tuple(row.values()) for row in rows["klines"]] == kept.tolist()
        columns = (await lent.ask("/api/v1/klines", **wanted, layout="columns")).json["columns"]
        assert columns["quote_volume"] == kept["quote_volume"].tolist()
        lines = table((await lent.ask("/api/v1/klines.csv", **wanted)).text)
        assert [float(line["close"]) for line in lines] == kept["close"].tolist()
        with_open = (await lent.ask("/api/v1/klines", **wanted, forming="yes")).json["klines"]
        assert [row["state"] > 1 for row in with_open] == [True] * 19 + [False]

    lend(test)


def test_klines_as_arrow_are_read_by_pyarrow() -> None:
    pa = pytest.importorskip("pyarrow")

    async def test(lent: Lent) -> None:
        await lent.until(70)
        answer = await lent.ask("/api/v1/klines.arrow", symbol="BTCUSDT", timeframe="5m", limit=10)
        kept = lent.world.hub.klines("BTCUSDT", "5m", 10)

        assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
        read = pa.ipc.open_stream(answer.body).read_all()
        assert read["close"].to_pylist() == kept["close"].tolist()
        assert read.num_rows == 10

    lend(test)


def test_arrow_without_its_library_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    async def test(lent: Lent) -> None:
        answer = await lent.ask("/api/v1/klines.arrow", symbol="BTCUSDT", timeframe="5m")

        assert (answer.status, answer.json["error"]) == (406, "NotAcceptable")
        assert "pip install 'klinehub[parquet]'" in answer.json["message"]
        assert ".csv" in answer.json["message"]

    lend(test)


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ({"start": HOUR - 600_000, "limit": 5}, HOUR - 600_000, 5),
        ({"start": HOUR - 600_001, "limit": 5}, HOUR - 600_000, 5),
        ({"end": HOUR, "limit": 5}, HOUR - 300_000, 5),
        ({"end": HOUR + 1, "limit": 5}, HOUR - 240_000, 5),
        ({"start": HOUR - 180_000, "end": HOUR}, HOUR - 180_000, 3),
        ({"start": HOUR - 200 * 60_000, "end": HOUR - 190 * 60_000}, HOUR - 200 * 60_000, 10),
        ({"start": HOUR + 3_600_000}, None, 0),
    ],
)
def test_a_range_opens_where_it_is_asked_for_and_goes_beyond_memory(
    query: dict[str, Any], first: int | None, count: int
) -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        answer = await lent.ask("/api/v1/klines", symbol="BTCUSDT", timeframe="1m", **query)

        found = [row["open_time"] for row in answer.json["klines"]]
        assert found == [first + 60_000 * n for n in range(count)] if first is not None else found == []

    lend(test)


def test_a_scan_over_the_network_is_that_of_the_hub_to_the_bit() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        hub = lent.world.hub
        where = "rsi(5) > 0 and close_5m > 0 and rank(ema_distance(5)) >= 0"
        found = (await lent.ask("/api/v1/scan", where=where, screen="cheap")).json
        own = hub.scanning.screened(lent.signals.screen("cheap"))

        assert [hit["symbol"] for hit in found["result"]["results"]] == [
            hit.symbol for hit in own.result.results
        ]
        by_hub = hub.scanning.asked(where=where, timeframe="15m")
        by_api = (await lent.ask("/api/v1/scan", where=where, timeframe="15m")).json
        assert by_api["result"] == msgspec.json.decode(msgspec.json.encode(by_hub.result))

    lend(test, screens=[CHEAP], bars=498)


def test_the_same_scan_is_made_once_until_the_next_close() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        scanning = lent.world.hub.scanning
        before = scanning.count
        answers = [await lent.ask("/api/v1/scan", screen="cheap") for _ in range(3)]
        together = await asyncio.gather(
            *(lent.ask("/api/v1/scan", where="close > 2", screen="cheap") for _ in range(3))
        )

        assert scanning.count - before == 2
        assert {answer.status for answer in (*answers, *together)} == {200}
        await lent.until(130)
        before = scanning.count
        assert (await lent.ask("/api/v1/scan", screen="cheap")).json["result"]["bar"] > answers[0].json[
            "result"
        ]["bar"]
        assert scanning.count - before == 1

    lend(test, screens=[CHEAP])


def test_of_too_many_scans_at_once_the_last_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        go = asyncio.Event()
        beside = lent.world.hub.scanning.beside

        async def slow(screen: Screen) -> Any:
            await go.wait()
            return await beside(screen)

        monkeypatch.setattr(lent.world.hub.scanning, "beside", slow)
        most = AT_A_TIME + MOST_WAITING
        asked = [
            asyncio.create_task(lent.ask("/api/v1/scan", screen="cheap", where=f"close > {n}"))
            for n in range(most + 3)
        ]
        await asyncio.sleep(5)
        go.set()
        answers = await asyncio.gather(*asked)

        assert sorted(answer.status for answer in answers) == [200] * most + [503] * 3
        late = next(answer for answer in answers if answer.status == 503)
        assert (late.json["error"], late.headers["Retry-After"]) == ("Busy", "1")

    lend(test, screens=[CHEAP])


@pytest.mark.parametrize(
    ("path", "query", "status", "said"),
    [
        ("/api/v1/symbls", {}, 404, "Did you mean '/api/v1/symbols'?"),
        ("/api/v1/klines", {"symbol": "BTCUSDT"}, 400, "`timeframe`"),
        ("/api/v1/klines", {"symbol": "BTCUSD", "timeframe": "1m"}, 404, "Did you mean 'BTCUSDT'?"),
        ("/api/v1/klines", {"symbol": "BTCUSDT", "timeframe": "2m"}, 404, "Unknown timeframe '2m'"),
        (
            "/api/v1/klines",
            {"symbol": "BTCUSDT", "timeframe": "1m", "limit": 0},
            400,
            "`limit`: Expected `int` >= 1",
        ),
        ("/api/v1/klines", {"symbol": "BTCUSDT", "timeframe": "1m", "limt": 5}, 400, "Did you mean 'limit'?"),
        ("/api/v1/klines", {"symbol": "BTCUSDT", "timeframe": "1m", "start": 5, "end": 4}, 400, "swap them"),
        ("/api/v1/scan", {"screen": "chep"}, 404, "Did you mean 'cheap'?"),
        ("/api/v1/scan", {"where": "rsi <"}, 400, "A value is missing"),
        ("/api/v1/scan", {"screen": "cheap", "side": "long"}, 400, "has no score"),
        ("/api/v1/factors", {"family": "tren"}, 404, "Did you mean 'trend'?"),
        ("/api/v1/gaps", {"symbol": "ETHUSD"}, 404, "Did you mean 'ETHUSDT'?"),
        ("/api/v1/events", {"screens": "chep"}, 404, "Did you mean 'cheap'?"),
        ("/api/v1/events", {"screens": ",".join(f"s{n}" for n in range(17))}, 400, "at most 16"),
        ("/api/v1/eventsx", {}, 404, "events are at"),
        ("/metricsx", {}, 404, "metrics are at"),
    ],
)
def test_what_can_not_be_asked_is_said_in_words_with_the_way_out(
    path: str, query: dict[str, Any], status: int, said: str
) -> None:
    async def test(lent: Lent) -> None:
        answer = await lent.ask(path, **query)

        assert (answer.status, set(answer.json)) == (status, {"error", "message"})
        assert said in answer.json["message"]

    lend(test, screens=[CHEAP])


def test_only_questions_are_answered_and_head_without_a_body() -> None:
    async def test(lent: Lent) -> None:
        for path in ("/api/v1/status", "/healthz", "/metrics", "/api/v1/events"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                answer = await lent.ask(path, method)
                assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), (path, method)
        whole, head = await lent.ask("/api/v1/screens"), await lent.ask("/api/v1/screens", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"]
        url = f"{lent.url}/api/v1/gaps?limit=1&limit=2"
        async with lent.session.get(url) as twice:
            assert twice.status == 400

    lend(test)


def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv() -> None:
    from klinehub.serve.tables import csv_of

    assert csv_of([{"symbol": "=1+1", "close": -1.5}], ["symbol", "close"]) == b"symbol,close\n'=1+1,-1.5\n"


def test_a_hub_whose_market_is_stale_is_alive_and_not_ready() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        assert (await lent.ask("/readyz")).json == {"ready": True, "reasons": []}
        hub = lent.world.hub
        for row in range(2):
            hub.ring.memory.stale[row] = (Reason.SILENT, hub.now())
        alive, ready = await lent.ask("/healthz"), await lent.ask("/readyz")

        assert (alive.status, alive.json) == (200, {"status": "ok"})
        assert (ready.status, ready.json["ready"]) == (503, False)
        assert ready.json["reasons"] == ["2 of 4 symbols: its stream is silent"]
        only = (await lent.ask("/api/v1/symbols", stale="only")).json
        assert [row["stale"] for row in only] == ["its stream is silent"] * 2
        bars = (await lent.ask("/api/v1/klines", symbol=only[0]["symbol"], timeframe="1m")).json
        assert bars["stale"] == "its stream is silent"

    lend(test)


def test_corrections_and_gaps_are_listed() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        hub = lent.world.hub
        frame = hub.panel("1m").timeframe
        bar = frame.index(HOUR) - 3
        hub.core.repair.absent.add((0, hub.ring.rows["BTCUSDT"], bar))
        (gap,) = (await lent.ask("/api/v1/gaps")).json
        assert gap == {
            "symbol": "BTCUSDT", "timeframe": "1m", "start": frame.open_time(bar),
            "end": frame.open_time(bar), "bars": 1, "confirmed": True,
        }  # fmt: skip
        assert (await lent.ask("/api/v1/gaps", symbol="ETHUSDT")).json == []
        from klinehub.feed.decisions import Correction

        exact = hub.panel("1m").exact("ETHUSDT", start=bar, end=bar)
        hub.corrections.append(Correction("ETHUSDT", "1m", frame.open_time(bar), exact, exact, "a test", 5))
        (one,) = (await lent.ask("/api/v1/corrections")).json
        assert (one["symbol"], one["cause"], one["old"]["open_time"]) == (
            "ETHUSDT",
            "a test",
            frame.open_time(bar),
        )
        assert one["old"] == one["new"]
        (row,) = table((await lent.ask("/api/v1/corrections.csv")).text)
        assert float(row["new.close"]) == one["new"]["close"]

    lend(test)


def test_the_pairlist_is_what_remote_pair_list_reads() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        whole = await lent.ask("/freqtrade/pairlist")

        # freqtrade looks for this in the type, and for these names in the body.
        assert "application/json" in whole.headers["Content-Type"]
        assert whole.json == {
            "pairs": [lent.world.hub.pair(name) for name in lent.world.hub.merged.symbols],
            "refresh_period": 300,
        }
        assert whole.json["pairs"][0] == "BTC/USDT:USDT"
        cheap = await lent.ask("/freqtrade/pairlist", screen="cheap", refresh_period=900)
        assert cheap.json["refresh_period"] == 900
        assert set(cheap.json["pairs"]) < set(whole.json["pairs"])
        assert (await lent.ask("/freqtrade/pairlist", screen="cheap")).json["refresh_period"] == 60
        assert len((await lent.ask("/freqtrade/pairlist", top=2)).json["pairs"]) == 2

    lend(test, screens=[CHEAP])


def test_what_is_no_pairlist_is_no_json_or_freqtrade_would_trade_no_pair() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        wrong = await lent.ask("/freqtrade/pairlist", screen="chep")
        assert (wrong.status, wrong.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
        hub = lent.world.hub
        hub.ring.memory.stale[hub.ring.rows["ETHUSDT"]] = (Reason.SILENT, hub.now())
        stale = await lent.ask("/freqtrade/pairlist")
        assert (stale.status, stale.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
        assert "its stream is silent" in stale.text

    lend(test, screens=[CHEAP])


def test_alerts_are_kept_with_ids_that_grow_and_only_once() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(200)
        alerts = (await lent.ask("/api/v1/alerts")).json

        assert [one["id"] for one in alerts] == list(range(1, len(alerts) + 1))
        held = [one for one in alerts if one["rule"] == "held"]
        times = [one["bar_open_time"] for one in held]
        assert times == sorted(set(times))
        assert len(times) >= 3
        assert held[0]["pair"] == "BTC/USDT:USDT"
        newer = (await lent.ask("/api/v1/alerts", after=alerts[-2]["id"])).json
        assert newer == alerts[-1:]

    lend(test, screens=[HELD, CHEAP])


def test_a_screen_that_can_not_be_had_is_named_and_the_others_go_on() -> None:
    deep = Screen(name="deep", timeframe="1m", where=CLOSE.lag(400) > 0)

    async def test(lent: Lent) -> None:
        await lent.until(130)
        rows = {row["name"]: row for row in (await lent.ask("/api/v1/screens")).json}

        assert "are kept: raise `market.bars`" in rows["deep"]["failure"]
        assert (rows["held"]["failure"], rows["held"]["kind"], rows["score"]["kind"]) == (
            None,
            "own",
            "score",
        )
        assert {one["rule"] for one in (await lent.ask("/api/v1/alerts")).json} == {"held"}

    lend(test, screens=[deep, HELD])


def test_a_target_is_shown_with_no_more_of_its_address_than_its_host() -> None:
    settings = WebhookSettings(url="https://hooks.example.com/canary-1", secret="canary-canary-canary")

    async def resolve(_host: str, _port: int) -> tuple[str, ...]:
        return ("10.0.0.1",)

    def alerting(world: World) -> dict[str, Any]:
        def deliver(log: Log) -> Couriers:
            hub = world.hub
            webhook = Webhook(
                "mine", settings, Way(resolve, open_session), now=hub.now, listing=hub.listings.get,
                exchange="binance-usdm",
            )  # fmt: skip
            timing = Timing(hub.now, 1.0, lambda: 0.5)
            return Couriers([Courier(webhook, log, timing, quiet=None, oldest=3_600_000)], log, hub.now)

        return {"deliver": deliver}

    async def test(lent: Lent) -> None:
        await lent.until(70)
        paths = ("/api/v1/targets", "/api/v1/alerts", "/metrics", "/api/v1/status")
        everything = [(await lent.ask(path)).text for path in paths]

        (told,) = msgspec.json.decode(everything[0])
        assert (told["where"], told["kind"], told["given_up"] > 0) == ("hooks.example.com", "webhook", True)
        assert "not a public address" in told["failure"]
        logged, *_ = msgspec.json.decode(everything[1])
        assert logged["deliveries"][0]["state"] == "given_up"
        assert "canary" not in "".join(everything)

    lend(test, screens=[HELD], alerting=alerting)


def test_nothing_is_in_a_bar_that_is_not_a_number() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        rows = (await lent.ask("/api/v1/klines", symbol="BTCUSDT", timeframe="1m", layout="columns")).json

        assert all(np.isfinite(values).all() for values in rows["columns"].values())

    lend(test)
