"""The diagnosis: of many findings the one that tells the most."""

import pytest

from klinehub.feed.diagnosis import Check, Finding, Verdict, diagnose


def finding(check: Check, verdict: Verdict, route: str = "wss://a.test/x") -> Finding:
    return Finding(
        check=check,
        route=route,
        verdict=verdict,
        ok=verdict is Verdict.FINE,
        detail=f"{check} is {verdict}",
        advice="do something",
        seconds=0.1,
    )


FINE, REST, STREAM, CLOCK = Verdict.FINE, Check.REST, Check.STREAM, Check.CLOCK


@pytest.mark.parametrize(
    ("rest", "stream", "clock", "other", "verdict"),
    [
        (FINE, FINE, FINE, Verdict.SILENT, FINE),
        (FINE, FINE, Verdict.CLOCK_SKEW, FINE, Verdict.CLOCK_SKEW),
        (FINE, Verdict.SILENT, FINE, FINE, Verdict.WRONG_ROUTE),
        (FINE, Verdict.SILENT, FINE, Verdict.SILENT, Verdict.SILENT),
        (FINE, Verdict.FOREIGN, FINE, FINE, Verdict.WRONG_ROUTE),
        (FINE, Verdict.GEO_BLOCK, FINE, FINE, Verdict.GEO_BLOCK),
        (Verdict.BAN, Verdict.GEO_BLOCK, FINE, Verdict.GEO_BLOCK, Verdict.BAN),
        (Verdict.OUTAGE, Verdict.GEO_BLOCK, FINE, Verdict.GEO_BLOCK, Verdict.GEO_BLOCK),
        (Verdict.OUTAGE, Verdict.SILENT, Verdict.CLOCK_SKEW, FINE, Verdict.WRONG_ROUTE),
        (Verdict.OUTAGE, Verdict.DEAD_PROXY, FINE, FINE, Verdict.DEAD_PROXY),
        (Verdict.INTERCEPTED, Verdict.OUTAGE, FINE, FINE, Verdict.INTERCEPTED),
    ],
)
def test_of_several_findings_the_most_telling_one_decides(
    rest: Verdict, stream: Verdict, clock: Verdict, other: Verdict, verdict: Verdict
) -> None:
    checks = {REST: rest, STREAM: stream, CLOCK: clock, Check.OTHER_ROUTE: other}

    found = diagnose([finding(check, one) for check, one in checks.items()])

    assert found.verdict == verdict
    assert bool(found.advice) is (verdict is not FINE)


def test_every_verdict_has_its_words_and_its_rank() -> None:
    for verdict in Verdict:
        found = diagnose([finding(REST, verdict), finding(STREAM, FINE)])

        assert found.verdict == verdict
        assert found.summary.endswith(".")
