"""Questions that the OpenAPI document allows, and some that it does not, put to a served hub on virtual time.

1. schemathesis draws as many cases for each path: half of them fit the document, half of them do not.
2. Of those that fit most are given names that exist: a name that nobody knows is answered with 404.
3. Every answer is held against the document: its status, its type and its schema. A question that the
   document does not allow is refused.

`python -m tests.sim.api_cases --cases 5000` runs as many as the project promises.
"""

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from math import ceil
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import DataObject, data
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks
from tests.sim.served import Lent, lend
from yarl import URL

from klinehub.factors.expr import field
from klinehub.scan.screen import Screen
from klinehub.serve.api import api_document
from klinehub.serve.changes import HEADER, RULES
from klinehub.serve.events import EVENTS

CHECKS: Final = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
]
# Names that exist in the world that is asked.
KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "symbol": ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT"),
    "timeframe": ("1m", "5m", "15m", "1h"),
    "screen": ("cheap", "dear"),
    "screens": ("cheap,dear",),
    "family": ("trend", "volume"),
    "where": ("close > 1", "rank(close) > 0.5 and volume >= 0", "close_1h < 100 or close > 2"),
}
# What makes a rule that was drawn one that can be judged: names that exist, and texts that mean something.
RULE: Final[dict[str, Any]] = {
    "where": "close > 1",
    "screen": "cheap",
    "clear": "close < 0.5",
    "timeframe": "1m",
    # JSON has no whole numbers: 3.0 is one to a schema, and none to a type.
    "cooldown": 3,
    "to": [],
    # The default score takes more bars than this small world keeps.
    "min_score": 0,
    "side": "",
}
SCREENS: Final = (
    Screen(name="cheap", timeframe="1m", where=field("close") < 100),
    Screen(name="dear", timeframe="5m", where=field("close") >= 100, columns={"close": field("close")}),
)


def drawn(count: int, number: int) -> Iterator[tuple[Any, bool]]:
    """Draw about *count* cases over all paths, from a seed; says of each whether it fits the document."""
    # The document as a client gets it.
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(api_document())))
    operations: list[Any] = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    # Streams have no end: the test of events is elsewhere.
    operations = [one for one in operations if one.path != EVENTS]
    asking = [one for one in operations if list(one.query) or list(one.body)]
    silent = [one for one in operations if one not in asking]
    # A path with few parameters has fewer different cases than are asked for.
    each = max(2, ceil(1.1 * count / (2 * len(asking))))
    for operation in asking:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            for case in _cases(operation.as_strategy(generation_mode=mode), each, number):
                yield case, mode is GenerationMode.POSITIVE
    for operation in silent:
        for case in _cases(operation.as_strategy(), 2, number):
            yield case, True


def _cases(strategy: Any, count: int, number: int) -> list[Any]:
    """Draw cases of one path."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data())
    def draw(source: DataObject) -> None:
        found.append(source.draw(strategy))

    draw()
    return found


def named(case: Any, turn: int) -> bool:
    """Give a case names that exist, three of four times; whether it has no other ones then."""
    if turn % 4 == 3:
        return False
    for name, known in KNOWN.items():
        if name in (case.query or {}):
            case.query[name] = known[turn % len(known)]
    if case.method == "POST":
        case.body = {**case.body, **RULE} if "where" in case.body or case.path == RULES else case.body
        case.body["name"] = "known" if case.path == RULES else case.body["name"]
    return True


async def put(lent: Lent, case: Any) -> Response:
    """Put a case to the hub."""
    wanted = requests.Request(**case.as_transport_kwargs(base_url=lent.url)).prepare()
    url = URL(wanted.url or "", encoded=True)
    sent = {name: str(wanted.headers[name]) for name in ("Content-Type", HEADER) if name in wanted.headers}
    async with lent.session.request(wanted.method or "GET", url, data=wanted.body, headers=sent) as answer:
        headers = {name: answer.headers.getall(name) for name in answer.headers}
        body = await answer.read()
    return Response(answer.status, headers, body, wanted, 0.0, verify=False)


def run(count: int, number: int) -> tuple[int, Counter[int], list[str]]:
    """Put cases to a hub; gives how many, the statuses of the answers, and what was wrong with any."""
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    cases = list(drawn(count, number))

    async def test(lent: Lent) -> None:
        await lent.until(70)
        for turn, (case, fits) in enumerate(cases):
            exists = fits and named(case, turn)
            response = await put(lent, case)
            statuses[response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except (Failure, FailureGroup) as exc:
                failures.append(f"{response.request.url}: {exc}")
            if exists and not allowed(case, response):
                failures.append(f"{response.request.url}: {response.status_code} {response.text}")

    lend(test, screens=SCREENS)
    return len(cases), statuses, failures


def allowed(case: Any, response: Response) -> bool:
    """Whether a question that fits, and has names that exist, was answered as it has to be."""
    query = case.query or {}
    if response.status_code == 200:
        return True
    if case.method == "POST" and case.path != RULES:
        # Nobody knows a rule of a name that was drawn.
        return response.status_code == 404
    # What fits alone need not fit together: an end before its start, a side where there is no score, a
    # default score that needs more bars than this small world keeps.
    together = {"start", "side", "min_score", "where", "timeframe", "top"} & set(query)
    return response.status_code == 400 and bool(together)


def main() -> int:
    """Run cases and say what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    given_ = parser.parse_args()
    warnings.simplefilter("ignore")
    began = time.monotonic()
    count, statuses, failures = run(given_.cases, given_.seed)
    for failure in failures[:20]:
        sys.stdout.write(f"{failure}\n")
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{count} cases in {seconds:.0f} s, {len(failures)} failures, statuses {dict(statuses)}\n"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
