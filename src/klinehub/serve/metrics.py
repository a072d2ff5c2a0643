"""Metrics: what a hub counts and measures, in the text formats of Prometheus."""

from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from klinehub.errors import KlinehubError
from klinehub.serve.figures import FIGURES, Figure, Source
from klinehub.serve.guard import Caller
from klinehub.serve.routes import NotAnswered, only_reads, refused

METRICS: Final = "/metrics"
METRICS_DOCUMENT: Final[dict[str, Any]] = {
    "get": {
        "operationId": "metrics",
        "summary": "What the hub counts and measures, for Prometheus (docs/metrics.md).",
        "parameters": [],
        "responses": {
            "200": {
                "description": "The metrics.",
                "content": {
                    "text/plain": {"schema": {"type": "string"}},
                    "application/openmetrics-text": {"schema": {"type": "string"}},
                },
            }
        },
    }
}


class Gathered(Collector):
    """Reads all figures when somebody asks for them."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Give each metric as it is now."""
        for figure in FIGURES:
            yield _metric(figure, figure.read(self._source))


class Metrics:
    """Answers Prometheus."""

    def __init__(self, source: Source) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Gathered(source))

    async def answer(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """Give all metrics, in the format that is asked for."""
        try:
            if caller.path != METRICS:
                raise NotAnswered(
                    404, "UnknownName", f"There is nothing at {caller.path!r}: metrics are at {METRICS}."
                )
            only_reads(request)
        except KlinehubError as exc:
            return refused(exc)
        encode, media = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": media})


def _metric(figure: Figure, found: Any) -> Metric:  # noqa: ANN401 - as its kind has it
    name = f"klinehub_{figure.name}"
    if figure.kind == "histogram":
        metric = HistogramMetricFamily(name, figure.about, labels=figure.labels)
        for labels, one in found:
            metric.add_metric(labels, buckets=one.buckets, sum_value=one.sum)
        return metric
    if figure.kind == "summary":
        count, total = found
        return SummaryMetricFamily(name, figure.about, count_value=count, sum_value=total)
    family = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    made = family(name, figure.about, labels=figure.labels)
    for labels, value in found if figure.labels else [((), found)]:
        made.add_metric(labels, float(value))
    return made
