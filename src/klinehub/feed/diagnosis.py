"""What a doctor's findings mean together: one verdict, what to do about it, and what works all the same."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec


class Verdict(StrEnum):
    """What can be the matter; of several at once the first in this order is told, for it hides the rest."""

    BAN = "ban"
    PROXY_LOGIN = "proxy-login"
    DEAD_PROXY = "dead-proxy"
    GEO_BLOCK = "geo-block"
    WAF = "waf"
    DNS = "dns"
    INTERCEPTED = "intercepted-tls"
    FOREIGN = "foreign-server"
    OLD_TLS = "old-tls"
    WRONG_ROUTE = "wrong-route"
    OUTAGE = "outage"
    SILENT = "silent"
    CLOCK_SKEW = "clock-skew"
    FINE = "fine"


class Check(StrEnum):
    """What is looked at; klinehub lives on the first three, the others tell what is the matter with them."""

    REST = "REST"
    STREAM = "WebSocket"
    CLOCK = "clock"
    OTHER_ROUTE = "other route"
    NAME = "name"
    ARCHIVE = "archive"
    SPOT = "spot"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check saw on its *route* (an address, and the proxy it is reached through).

    *ok* is the check's own result: another route that is silent is not, and does not matter either.
    *seconds* are real seconds.
    """

    check: str
    route: str
    verdict: str
    ok: bool
    detail: str
    advice: str
    seconds: float


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on all findings in words, and what still works."""

    verdict: str
    summary: str
    advice: str
    works: tuple[str, ...]


LIVED_ON: Final = (Check.REST, Check.STREAM, Check.CLOCK)
ASKED: Final = (Check.REST, Check.STREAM)
OF_ONE_CHECK: Final = frozenset({Verdict.WRONG_ROUTE, Verdict.SILENT})
# What a route that carries no klines looks like from outside.
OFF_ROUTE: Final = frozenset({Verdict.SILENT, Verdict.OUTAGE, Verdict.FOREIGN})
MEANING: Final = {
    Verdict.BAN: "The exchange has banned this address for asking too much",
    Verdict.PROXY_LOGIN: "The proxy wants another user name and password",
    Verdict.DEAD_PROXY: "The proxy does not let connections through",
    Verdict.GEO_BLOCK: "The exchange serves no clients at this location",
    Verdict.WAF: "A firewall in front of the exchange refuses this address",
    Verdict.DNS: "The name of the exchange does not lead to it",
    Verdict.INTERCEPTED: "Something between here and the exchange shows a certificate of its own",
    Verdict.FOREIGN: "Something else than the exchange answers",
    Verdict.OLD_TLS: "No version of TLS that both sides accept",
    Verdict.WRONG_ROUTE: "The WebSocket address is one that carries no klines",
    Verdict.OUTAGE: "The exchange does not answer as it should",
    Verdict.SILENT: "The WebSocket takes the subscription and sends no klines",
    Verdict.CLOCK_SKEW: "This machine's clock is wrong",
}
STILL: Final = {
    Check.REST: "REST: `klinehub klines`, `klinehub scan --once`, and a hub that asks for each close",
    Check.STREAM: "the live stream: a hub that is warmed up stays live, but can not close gaps",
    Check.ARCHIVE: "the archive: klines up to yesterday as files, which `klinehub demo --replay` plays",
    Check.SPOT: "another market: spot, as REST data at the route named there (klinehub follows futures)",
}


def diagnose(findings: Sequence[Finding]) -> Diagnosis:
    """Weigh all findings up; the first verdict in their order that a check has found decides."""
    better = next((one for one in findings if one.check == Check.OTHER_ROUTE and one.ok), None)
    wrong = [_rerouted(one, better) for one in findings if one.check in LIVED_ON and not one.ok]
    works = tuple(_still(findings))
    if not wrong:
        return Diagnosis(verdict=Verdict.FINE, summary=_all_well(findings), advice="", works=works)
    if any(one.check != Check.CLOCK for one in wrong):
        wrong += [one for one in findings if one.check == Check.NAME and not one.ok]
    first = min(wrong, key=lambda one: _rank(one.verdict))
    where = dict.fromkeys(one.check for one in wrong if one.verdict == first.verdict and one.check in ASKED)
    affected = f" ({' and '.join(where)})" if where and first.verdict not in OF_ONE_CHECK else ""
    summary = f"{MEANING[Verdict(first.verdict)]}{affected}: {first.detail}."
    advice = first.advice
    if _cut_off(findings, first.verdict):
        summary += " Nothing else that was tried can be reached either."
        advice = f"This machine's own network comes first: try any page in a browser here. {advice}"
    return Diagnosis(verdict=first.verdict, summary=summary, advice=advice, works=works)


def _rank(verdict: str) -> int:
    return list(Verdict).index(Verdict(verdict))


def _rerouted(finding: Finding, better: Finding | None) -> Finding:
    """Tell a stream that fails while another route has klines as the wrong route that it is."""
    if finding.check != Check.STREAM or better is None or finding.verdict not in OFF_ROUTE:
        return finding
    advice = f"Set exchange.stream_url (--stream-url) to {better.route.split(' ')[0]}, where klines arrive."
    return msgspec.structs.replace(finding, verdict=Verdict.WRONG_ROUTE, advice=advice)


def _still(findings: Iterable[Finding]) -> Iterable[str]:
    """Name what works, in the order of the checks."""
    if {one.check for one in findings if one.ok} >= set(ASKED):
        yield "REST and the live stream"
        findings = [one for one in findings if one.check not in ASKED]
    for one in findings:
        if one.ok and one.check == Check.OTHER_ROUTE:
            yield f"the WebSocket route {one.route}"
        elif one.ok and one.check in STILL:
            yield STILL[Check(one.check)]


def _cut_off(findings: Iterable[Finding], verdict: str) -> bool:
    """Say whether no host at all could be reached, others than the exchange's included."""
    reached = [one for one in findings if one.check not in {Check.NAME, Check.CLOCK}]
    elsewhere = any(one.check in {Check.ARCHIVE, Check.SPOT} for one in reached)
    lost = {Verdict.DNS, Verdict.OUTAGE}
    return elsewhere and verdict in lost and all(one.verdict in lost for one in reached)


def _all_well(findings: Iterable[Finding]) -> str:
    told = {Check.REST: "REST answers", Check.STREAM: "klines arrive", Check.CLOCK: "the clocks agree"}
    said = [told[Check(one.check)] for one in findings if one.check in LIVED_ON]
    return f"All is fine: {', '.join(dict.fromkeys(said))}."
