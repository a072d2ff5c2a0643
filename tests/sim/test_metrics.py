"""Metrics of a live hub on virtual time: as Prometheus reads them, and as the page lists them."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.sim.served import Lent, lend
from tests.sim.test_api import CHEAP, HELD
from tests.sim.worlds import World
from tests.unit.alerts.test_courier import REFUSED, Scripted

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.domain.stale import Reason
from klinehub.feed.use import Use
from klinehub.serve.figures import FIGURES, page
from klinehub.serve.histogram import Histogram

pytestmark = pytest.mark.timeout(180)
ROOT: Final = Path(__file__).resolve().parents[2]
Samples = dict[str, dict[tuple[str, ...], float]]


def samples(text: str) -> Samples:
    """Read metrics: by name, then by the values of their labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = tuple(one.labels[name] for name in sorted(one.labels))
            found.setdefault(one.name, {})[key] = one.value
    return found


async def read(lent: Lent) -> Samples:
    answer = await lent.ask("/metrics")
    assert answer.status == 200
    return samples(answer.text)


def test_every_figure_is_told_and_has_its_help_and_no_label_has_symbols() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(190)
        await lent.ask("/healthz")
        text = (await lent.ask("/metrics")).text

        for figure in FIGURES:
            name = f"klinehub_{figure.name}"
            base = name.removesuffix("_total") if figure.kind == "counter" else name
            assert f"# HELP {name} {figure.about}" in text or f"# HELP {base}" in text
            assert f"# TYPE {name} {figure.kind}" in text or f"# TYPE {base} {figure.kind}" in text
            # Without targets and without a relay there is nothing to say of them.
            if figure.labels[:1] not in {("target",), ("what",)}:
                assert re.search(rf"^{name}(_count|_bucket)?[ {{]", text, re.MULTILINE), name
        assert "BTCUSDT" not in text
        assert len(text.splitlines()) < 600

    lend(test, screens=[CHEAP])


def test_a_relay_is_told_with_what_it_counts_and_whether_it_is_there() -> None:
    figure = next(one for one in FIGURES if one.name == "relay")
    stats = {"symbols": 4, "relay_told": 7, "relay_hubs": 2, "relay_fault": ""}
    source: Any = SimpleNamespace(hub=SimpleNamespace(get_stats=lambda: stats))

    assert dict(figure.read(source)) == {("told",): 7, ("hubs",): 2, ("up",): True}
    stats["relay_fault"] = "Nothing answers there."
    assert dict(figure.read(source))["up",] is False
    stats.clear()
    assert not dict(figure.read(source))


def test_the_figures_are_those_of_the_hub() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(190)
        for _ in range(2):
            await lent.ask("/api/v1/scan", screen="cheap")
        hub, found = lent.world.hub, await read(lent)

        assert found["klinehub_symbols"][()] == 4
        assert found["klinehub_ready"][()] == 1
        assert found["klinehub_close_latency_seconds_count"]["1m",] == 3
        assert found["klinehub_close_latency_seconds_sum"]["1m",] < 1.0
        assert found["klinehub_data_age_seconds"]["1", "1m"] == pytest.approx(10, abs=2)
        assert found["klinehub_closes_total"][()] == hub.core.counts.closes
        assert found["klinehub_rest_requests_total"][()] == hub.gate.calls
        weights = found["klinehub_rest_weight_total"]
        assert set(weights) == {(use.value,) for use in Use}
        assert sum(weights.values()) == hub.gate.spent
        assert weights["warm-up",] > 0
        assert found["klinehub_requests_total"]["api/v1", "200"] == 2
        assert found["klinehub_clients"] == dict.fromkeys([("events",), ("streams",), ("board",)], 0) | {
            ("callers",): 1
        }
        assert found["klinehub_scan_seconds_count"][()] == hub.scanning.count
        assert found["klinehub_store_durable"][()] == 0

    lend(test, screens=[CHEAP])


def test_trouble_shows() -> None:
    async def test(lent: Lent) -> None:
        await lent.until(70)
        hub = lent.world.hub
        hub.ring.memory.stale[0] = (Reason.SILENT, hub.now())
        hub.gate.banned(hub.now() + 60_000)
        hub.gate.banned(hub.now() + 61_000)
        found = await read(lent)

        assert found["klinehub_stale_symbols"]["silent",] == 1
        assert found["klinehub_ready"][()] == 0
        assert (found["klinehub_rest_bans_total"][()], found["klinehub_rest_closed"][()]) == (1, 1)
        assert 60 <= found["klinehub_rest_ban_remaining_seconds"][()] <= 63

    lend(test)


def test_open_metrics_is_given_to_who_asks_for_it() -> None:
    async def test(lent: Lent) -> None:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with lent.session.get(f"{lent.url}/metrics", headers=accept) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")

    lend(test)


def test_each_target_is_counted_and_says_whether_it_takes_what_it_is_sent() -> None:
    def alerting(world: World) -> dict[str, Any]:
        timing = Timing(world.hub.now, 1.0, lambda: 0.5)
        posts = Scripted("good"), Scripted("wrong", [REFUSED] * 9), Scripted("gone", failure="no such thing")

        def deliver(log: Log) -> Couriers:
            couriers = [Courier(post, log, timing, quiet=None, oldest=3_600_000) for post in posts]
            return Couriers(couriers, log, world.hub.now)

        return {"deliver": deliver}

    async def test(lent: Lent) -> None:
        await lent.until(80)
        found = await read(lent)

        told = found["klinehub_alerts_total"]
        assert told["sent", "good"] > 0
        assert (told["sent", "wrong"], told["sent", "gone"]) == (0, 0)
        assert told["given_up", "wrong"] > 0
        assert told["retried", "wrong"] > 0
        assert told["given_up", "gone"] == told["sent", "good"]
        assert found["klinehub_target_ok"] == {("good",): 1, ("wrong",): 0, ("gone",): 0}
        assert found["klinehub_queue_depth"]["target_good",] == 0

    lend(test, screens=[HELD], alerting=alerting)


def test_the_page_is_fresh() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

    assert page() == written, "make it anew: python -m klinehub.serve.figures > docs/metrics.md"


def test_names_have_their_units_and_kinds_as_prometheus_wants_them() -> None:
    names = [figure.name for figure in FIGURES]

    assert len(names) == len(set(names))
    for figure in FIGURES:
        assert figure.name.endswith("_total") == (figure.kind == "counter"), figure.name
        assert figure.about.endswith("."), figure.name
        assert not re.search(r"_(ms|minutes|kb)\b", figure.name), figure.name


def test_a_histogram_counts_what_is_at_most_as_large_as_each_bound() -> None:
    one = Histogram((0.1, 1.0))
    for value in (0.1, 0.05, 1.0, 5.0):
        one.observe(value)

    assert one.buckets == [("0.1", 2.0), ("1", 3.0), ("+Inf", 4.0)]
    assert one.count == 4
    assert one.sum == pytest.approx(6.15)
