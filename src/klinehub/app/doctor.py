"""`doctor`: what is the matter with the way to the exchange, what to do, and what works all the same."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from klinehub.app import options, show
from klinehub.app.exits import code_of
from klinehub.app.library import system_account, system_clock, system_network
from klinehub.errors import (
    Banned,
    Blocked,
    DefinitionError,
    FeedError,
    KlinehubError,
    ProxyError,
    Unreachable,
)
from klinehub.feed.account import BAN, Busy, Record, in_force
from klinehub.feed.diagnosis import Check, Diagnosis, Finding, Verdict, diagnose
from klinehub.feed.doctor import ELSEWHERE, WITHIN, Examination, Ward, examine, most_weight
from klinehub.feed.network import endpoint
from klinehub.feed.venue import USDM, venue_of

KINDS: Final[Mapping[Verdict, type[KlinehubError]]] = {
    Verdict.BAN: Banned,
    Verdict.PROXY_LOGIN: ProxyError,
    Verdict.DEAD_PROXY: ProxyError,
    Verdict.GEO_BLOCK: Blocked,
    Verdict.WAF: Blocked,
    Verdict.DNS: Unreachable,
    Verdict.INTERCEPTED: Unreachable,
    Verdict.FOREIGN: FeedError,
    Verdict.OLD_TLS: Unreachable,
    Verdict.WRONG_ROUTE: DefinitionError,
    Verdict.OUTAGE: Unreachable,
    Verdict.SILENT: Unreachable,
    Verdict.CLOCK_SKEW: KlinehubError,
}


async def doctor(given: Mapping[str, Any]) -> int:
    """Examine the way to the exchange and tell; the exit code is that of the error it would end in."""
    config = options.settings(given)
    options.spoken_to(config.exchange, "doctor")
    wanted = config.hub
    venue = venue_of(config.exchange)
    clock, account = system_clock(), SharedAccount(wanted.rest_url, most_weight(venue))
    known = account.begin(clock.now())
    network = system_network(config.proxy)
    ward = Ward(network, clock, timeout=wanted.timeout, offset=known.offset)
    with _waiting() as told:
        examination = await examine(
            ward,
            wanted.rest_url,
            wanted.stream_url,
            venue=venue,
            banned_until=known.banned_until,
            # What else works matters to users of the real exchange; a simulator's need no other hosts.
            elsewhere=ELSEWHERE if wanted.rest_url == USDM.rest_url else (),
            told=told,
        )
    account.end(examination.banned_until)
    diagnosis = diagnose(examination.findings)
    code = 0 if diagnosis.verdict == Verdict.FINE else code_of(KINDS[Verdict(diagnosis.verdict)])
    if given["as_json"]:
        show.document(_document(config.exchange, diagnosis, examination, code))
    else:
        show.out.print(_table(config.exchange, examination.findings))
        _tell(diagnosis)
    return code


class SharedAccount:
    """What this machine's hubs share about the exchange at *rest_url*, as far as it can be kept.

    *weight* is what an examination spends at most.
    """

    def __init__(self, rest_url: str, weight: int = most_weight(USDM)) -> None:
        self._weight = weight
        self._host = "{}:{}".format(*endpoint(rest_url))
        self._account = system_account(rest_url)

    def begin(self, now: int) -> Record:
        """Give what is known, bans that are over left out, and count what will be spent."""
        nothing = Record(b"")
        if self._account is None:
            return nothing
        try:
            known = self._account.read(self._host) or nothing
            now += known.offset
            if in_force(known.banned_until, now, BAN):
                return known
            spent = self._account.spend(self._host, now, self._weight, None)
        except Busy:
            return nothing
        if spent is not None and spent[0]:
            self._account.landed(self._host, now, self._weight)
        return known._replace(banned_until=0)

    def end(self, banned_until: int) -> None:
        """Keep everybody away until *banned_until* (ms of exchange time), if the exchange said so."""
        if self._account is not None:
            if banned_until:
                self._account.ban(self._host, banned_until)
            self._account.close()


def _document(exchange: str, diagnosis: Diagnosis, examination: Examination, code: int) -> dict[str, object]:
    """Give the document of `doctor --json`; a ban's end is in ms of exchange time, 0 without one."""
    return {
        "exchange": exchange,
        "verdict": diagnosis.verdict,
        "summary": diagnosis.summary,
        "advice": diagnosis.advice,
        "works": diagnosis.works,
        "banned_until": examination.banned_until,
        "exit_code": code,
        "findings": examination.findings,
    }


def _table(exchange: str, findings: tuple[Finding, ...]) -> Table:
    """Lay out what was seen, a row for each check."""
    table = Table(box=SIMPLE_HEAD, title=f"{exchange}: the way to the exchange", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("where, and what was seen", overflow="fold")
    stream = next(one.detail for one in findings if one.check == Check.STREAM)
    for one in findings:
        spare = one.check == Check.OTHER_ROUTE
        if spare and one.detail == stream and not one.ok:
            continue  # the same host fails in the same way
        colour = "green" if one.ok else "dim" if spare else "red"
        silent = spare and one.verdict == Verdict.SILENT
        detail = f"{one.detail}, as it should be" if silent else one.detail
        seen = Text.assemble((one.route, "dim"), "\n", show.zoned(detail))
        table.add_row(Text(one.check), Text(one.verdict, style=colour), seen)
    return table


def _tell(diagnosis: Diagnosis) -> None:
    """Say the verdict, what to do and what works all the same."""
    well = diagnosis.verdict == Verdict.FINE
    show.out.print(Text(show.zoned(diagnosis.summary), style="green" if well else "bold red"))
    if well:
        return
    show.out.print(Text(show.zoned(diagnosis.advice)))
    show.out.print(Text("What still works:" if diagnosis.works else "Nothing of what was tried works."))
    for one in diagnosis.works:
        show.out.print(Text(f"  {one}"))


@contextmanager
def _waiting() -> Iterator[Callable[[Finding], None]]:
    """Show on stderr, where that is a terminal, how far the examination is."""
    seen: list[str] = []
    with show.err.status(f"looking at every way to the exchange, {WITHIN:.0f} s at most") as status:

        def told(finding: Finding) -> None:
            seen.append(f"{finding.check} {finding.verdict}")
            status.update(f"looking at every way to the exchange: {', '.join(seen)}")

        yield told
