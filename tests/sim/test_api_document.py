"""The OpenAPI document, and a seeded part of the cases that are put to a hub by it."""

import json
import warnings

import pytest
from tests.sim.api_cases import run
from tests.sim.served import Lent, lend

from klinehub.serve.api import ROUTES, api_document
from klinehub.serve.routes import Route

# Drawing the cases takes most of it.
pytestmark = pytest.mark.timeout(180)


def test_cases_drawn_from_the_document_find_nothing_that_it_does_not_say() -> None:
    with warnings.catch_warnings():
        # schemathesis says what a run of its own would be told.
        warnings.simplefilter("ignore")
        count, statuses, failures = run(250, 1)

    assert failures == []
    assert count >= 250
    assert statuses[200] > 50
    assert statuses[400] > 50


def test_the_document_has_every_path_and_is_what_is_served() -> None:
    async def test(lent: Lent) -> None:
        served = (await lent.ask("/api/v1/openapi.json")).json
        assert served == json.loads(json.dumps(api_document()))
        paths = {path for route in ROUTES for path in route.paths}
        assert set(served["paths"]) == paths | {"/api/v1/events", "/metrics"}
        assert served["openapi"] == "3.1.0"
        symbol = next(
            one for one in served["paths"]["/api/v1/klines"]["get"]["parameters"] if one["name"] == "symbol"
        )
        assert (symbol["required"], symbol["example"], symbol["schema"]["maxLength"]) == (True, "BTCUSDT", 32)

    lend(test)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_answer_says_what_it_is_and_each_parameter_has_limits(route: Route) -> None:
    operation = api_document()["paths"][route.path][route.method.lower()]

    assert operation["responses"]["200"]["description"]
    for one in operation["parameters"]:
        schema = one["schema"]
        assert one["description"] or one["name"] == "screens", one
        limited = "enum" in schema or "maxLength" in schema or {"minimum", "maximum"} <= set(schema)
        assert limited, one
