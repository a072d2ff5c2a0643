"""The own API: what a hub holds and finds, as typed JSON, CSV and Arrow under /api/v1.

1. One table, ROUTES, says what can be asked: dispatch, checks and the OpenAPI document are made of it.
2. A question is checked against the type of its parameters before anything is done for it.
3. Whatever goes wrong is said in words, with what to do: as JSON, or as text where freqtrade would take any
   JSON for a list of no pairs.
"""

import asyncio
from collections.abc import Collection
from functools import cache, partial
from heapq import nlargest
from typing import Any, Final

import msgspec
import numpy as np
from aiohttp import web
from msgspec import UNSET

from klinehub.alerts.delivering import TargetRow, Tried
from klinehub.alerts.rule import RuleText
from klinehub.alerts.rulebook import NamedRule, RuleRow
from klinehub.domain.kline import Exact, Klines
from klinehub.domain.stale import Stale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError, KlinehubError, UnknownName
from klinehub.factors.catalogue import described
from klinehub.factors.stock import STOCK
from klinehub.panel.recorded import klines_of
from klinehub.panel.view import PLANES
from klinehub.scan.likeness import Calibrations
from klinehub.scan.pools import Member
from klinehub.scan.presets import PRESETS, filtered
from klinehub.scan.scanner import DEFAULT
from klinehub.scan.screen import Screen
from klinehub.serve import answers, changes, queries, rows
from klinehub.serve.board.texts import check, series
from klinehub.serve.events import EVENTS, EVENTS_DOCUMENT
from klinehub.serve.guard import Caller
from klinehub.serve.local import NamedScan
from klinehub.serve.metrics import METRICS, METRICS_DOCUMENT
from klinehub.serve.openapi import document
from klinehub.serve.pairlist import pairlist
from klinehub.serve.readiness import readiness
from klinehub.serve.routes import (
    MEDIA,
    NOT_KEPT,
    MethodNotAllowed,
    NotAnswered,
    Replied,
    Route,
    Work,
    Write,
    given,
    parsed,
    refused,
    told,
)
from klinehub.serve.scan_desk import ScanDesk
from klinehub.serve.signals import Signals
from klinehub.serve.tables import columns_of, csv_of, klines_arrow, klines_csv, rows_of, scan_csv

VERSION: Final = "1"
DOCUMENT: Final = "/api/v1/openapi.json"
_CLOSE: Final = PLANES.index("close")


class Api:
    """Answers what can be asked of a hub whose *signals* are passed on."""

    def __init__(self, signals: Signals) -> None:
        self.desk = ScanDesk(signals.hub)
        self.alerting = signals.alerting
        self._signals = signals
        self._hub = signals.hub
        self._paths: dict[str, dict[str, tuple[Route, str]]] = {}
        for route in ROUTES:
            for path, form in route.paths.items():
                self._paths.setdefault(path, {})[route.method] = route, form

    async def answer(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """Answer one request."""
        route = None
        try:
            if caller.path not in self._paths:
                raise NotAnswered(404, "UnknownName", str(UnknownName("path", caller.path, self._paths)))
            found_by, method = self._paths[caller.path], "GET" if request.method == "HEAD" else request.method
            if method not in found_by:
                raise MethodNotAllowed(request.method, found_by)
            route, form = found_by[method]
            asked = parsed(route.query, request.query)
            found = await route.work(self, asked if route.body is None else await told(route.body, request))
            reply = found if isinstance(found, Replied) else Replied(found)
            body = await _written(route.forms[form], reply.value, form)
        except KlinehubError as exc:
            return refused(exc, plain=route is not None and route.plain)
        headers = {**NOT_KEPT, **reply.headers, "Content-Type": MEDIA[form]}
        return web.Response(status=reply.status, body=body, headers=headers)

    async def document(self, _: queries.Nothing) -> dict[str, Any]:
        """Give the OpenAPI document."""
        return api_document()

    async def health(self, _: queries.Nothing) -> answers.Health:
        """Say that the process is alive."""
        return answers.Health()

    async def ready(self, _: queries.Nothing) -> Replied:
        """Say whether the hub can be relied on."""
        found = readiness(self._hub)
        return Replied(found, 200 if found.ready else 503)

    async def status(self, _: queries.Nothing) -> answers.Status:
        """Say what the hub follows and counts."""
        hub, ready = self._hub, readiness(self._hub)
        chosen = hub.choosing.universe
        return answers.Status(
            exchange=self._signals.exchange,
            time=hub.now(),
            ready=ready.ready,
            reasons=ready.reasons,
            timeframes=tuple(frame.name for frame in hub.timeframes),
            symbols=len(hub.symbols),
            universe_time=0 if chosen is None else chosen.time,
            universe_failure=hub.choosing.failure,
            alerts_failure=self.alerting.failure,
            counts=hub.get_stats(),
        )

    async def symbols(self, query: queries.SymbolsQuery) -> list[rows.Symbol]:
        """List what is followed."""
        hub = self._hub
        stale, among = hub.all_stale(hub.symbols), self.desk.merged().metadata
        panel = hub.panel(hub.timeframes[0].name)
        closes = panel.cube(panel.closed_bar, 1)[_CLOSE, :, 0]
        chosen = [
            symbol
            for symbol in hub.symbols
            if query.stale == "all" or (symbol in stale) == (query.stale == "only")
        ]
        return [self._symbol(name, stale.get(name), closes[panel.row(name)], among) for name in chosen]

    def _symbol(self, name: str, stale: Stale | None, close: float, among: Collection[str]) -> rows.Symbol:
        hub = self._hub
        listing = hub.listings[name]
        turnover = hub.turnover.get(name, np.nan)
        return rows.Symbol(
            symbol=name,
            pair=listing.unified,
            base_asset=listing.base_asset,
            quote_asset=listing.quote_asset,
            contract_type=listing.contract_type,
            status=listing.status,
            onboard_time=listing.onboard_time,
            close=None if np.isnan(close) else float(close),
            turnover=None if np.isnan(turnover) else float(turnover),
            in_universe=name in among,
            stale=None if stale is None else stale.reason,
            stale_since=None if stale is None else stale.since,
        )

    async def klines(self, query: queries.KlinesQuery) -> rows.Bars:
        """Give the bars of one series."""
        hub = self._hub
        frame = hub.panel(query.timeframe).timeframe
        if query.start is UNSET and query.end is UNSET:
            forming = query.forming == "yes"
            kept = hub.klines(query.symbol, frame.name, query.limit - forming, forming=forming)
        else:
            start, end = self._range(query, frame)
            found = await hub.range(query.symbol, frame.name, start, end)
            kept = found[: query.limit] if query.start is not UNSET else found[-query.limit :]  # type: ignore[assignment] # a slice keeps its class
            kept.stale = found.stale
        return rows.Bars(query.symbol, frame.name, kept, query.layout)

    def _range(self, query: queries.KlinesQuery, frame: Timeframe) -> tuple[int, int]:
        """Give the first open time that is asked for, and the one behind the last."""
        hub, now = self._hub, frame.index(self._hub.now())
        self._hub.panel(frame.name).row(query.symbol)
        end = now if query.end is UNSET else min(now, frame.index(query.end - 1) + 1)
        listing = hub.listings.get(query.symbol)
        oldest = frame.index(0 if listing is None else listing.onboard_time)
        if query.start is UNSET:
            first = max(oldest, end - query.limit)
        else:
            if query.end is not UNSET and query.start > query.end:
                raise DefinitionError(f"The end {query.end} lies before the start {query.start}: swap them.")
            first = frame.index(query.start)
            first = max(oldest, first + (frame.open_time(first) < query.start))
            end = min(end, first + query.limit)
        return frame.open_time(first), frame.open_time(max(first, end))

    async def scan(self, query: queries.ScanQuery) -> NamedScan:
        """Hold the market against a screen."""
        found = await self.desk.scan(self._screen(query))
        return NamedScan(**msgspec.structs.asdict(found), exchange=self._signals.exchange)

    def _screen(self, query: queries.ScanQuery) -> Screen:
        """Make the screen that is asked for."""
        name = DEFAULT if query.screen is UNSET else query.screen
        screen = self._signals.screen(name, given(query.timeframe))
        if query.where is not UNSET:
            screen = filtered(query.where, screen)
        asked = {name: given(getattr(query, name)) for name in ("min_score", "side", "top")}
        changes = {name: value for name, value in asked.items() if value is not None}
        return msgspec.structs.replace(screen, **changes) if changes else screen

    async def evidence(self, _: queries.Nothing) -> Calibrations:
        """Give what hits are held against."""
        return self._hub.scanning.calibrations

    async def series(self, query: queries.SeriesQuery) -> answers.Series:
        """Give expressions bar by bar."""
        return await series(self._hub, self.desk, query)

    async def check(self, query: queries.CheckQuery) -> answers.Checked:
        """Say what is wrong with a text."""
        return await check(self._hub, self.desk, query)

    async def pairlist(self, query: queries.PairlistQuery) -> Replied:
        """Give pairs as freqtrade's RemotePairList reads them."""
        scan = None
        wanted = (query.screen, query.where, query.timeframe, query.min_score, query.side)
        if any(one is not UNSET for one in wanted):
            scan = await self.desk.scan(self._screen(query))
        return pairlist(
            self._hub,
            self.desk.merged().symbols,
            scan,
            top=given(query.top),
            period=given(query.refresh_period),
        )

    async def screens(self, _: queries.Nothing) -> list[rows.ScreenRow]:
        """List the screens that can be asked for by name."""
        signals = self._signals
        names = dict.fromkeys((DEFAULT, *signals.own, *PRESETS))
        return [
            _screen_row(signals.screen(name), self._kind(name), signals.failures.get(name)) for name in names
        ]

    def _kind(self, name: str) -> str:
        return "own" if name in self._signals.own else "preset" if name in PRESETS else "score"

    async def factors(self, query: queries.FactorsQuery) -> list[rows.FactorRow]:
        """List the factors that conditions are made of."""
        known = await asyncio.get_running_loop().run_in_executor(None, factor_rows)
        families = dict.fromkeys(row.family for row in known)
        if query.family is not UNSET and query.family not in families:
            raise UnknownName("family", query.family, families)
        return [row for row in known if query.family in {UNSET, row.family}]

    async def universe(self, _: queries.Nothing) -> list[Member]:
        """List who is worth a scan, and why."""
        merged = self.desk.merged()
        return [_known(merged.metadata[name]) for name in merged.symbols]

    async def gaps(self, query: queries.RowsQuery) -> list[rows.GapRow]:
        """List what lacks."""
        hub, symbol = self._hub, self._followed(query)
        runs = [(*gap, False) for gap in hub.core.missing(hub.now())]
        runs += [(t, row, bar, bar, True) for t, row, bar in hub.core.repair.absent]
        if symbol is not None:
            runs = [one for one in runs if hub.ring.symbols[one[1]] == symbol]
        newest = nlargest(query.limit, runs, key=lambda one: (hub.timeframes[one[0]].open_time(one[3]), one))
        return [self._gap(*one) for one in newest]

    def _gap(self, t: int, row: int, start: int, end: int, confirmed: bool) -> rows.GapRow:  # noqa: FBT001
        frame = self._hub.timeframes[t]
        times = frame.open_time(start), frame.open_time(end)
        return rows.GapRow(self._hub.ring.symbols[row], frame.name, *times, end - start + 1, confirmed)

    async def corrections(self, query: queries.RowsQuery) -> list[rows.CorrectionRow]:
        """List the closed bars that were changed, the newest last."""
        symbol = self._followed(query)
        chosen = [one for one in self._hub.corrections if symbol in {None, one.symbol}]
        return [
            rows.CorrectionRow(
                *(one.symbol, one.timeframe, one.open_time, one.time, one.cause),
                *(self._bar(exact, one.timeframe) for exact in (one.old, one.new)),
            )
            for one in chosen[-query.limit :]
        ]

    def _bar(self, exact: Exact, name: str) -> rows.Kline:
        return rows.Kline(*klines_of(exact, self._hub.panel(name).timeframe).tolist()[0])

    def _followed(self, query: queries.RowsQuery) -> str | None:
        """Give the symbol that is asked for; raises UnknownName for one that is not followed."""
        if query.symbol is not UNSET:
            self._hub.panel(self._hub.timeframes[0].name).row(query.symbol)
        symbol: str | None = given(query.symbol)
        return symbol

    async def alerts(self, query: queries.AlertsQuery) -> list[rows.AlertRow]:
        """List the newest alerts of the log, the newest last."""
        return await self.alerting.entries(query.after, query.limit, given(query.symbol))

    async def rules(self, _: queries.Nothing) -> list[RuleRow]:
        """List the rules."""
        return await self.alerting.rulebook.rows()

    async def targets(self, _: queries.Nothing) -> list[TargetRow]:
        """List who is told."""
        return await self.alerting.delivery.rows()

    async def put_rule(self, body: NamedRule) -> RuleRow:
        """Judge a rule of the board from now on."""
        text = {name: getattr(body, name) for name in RuleText.__struct_fields__}
        await self.alerting.put(body.name, RuleText(**text))
        return next(row for row in await self.alerting.rulebook.rows() if row.name == body.name)

    async def drop_rule(self, body: queries.RuleName) -> answers.Done:
        """Forget a rule of the board."""
        await self.alerting.rulebook.drop(body.name)
        return answers.Done(body.name)

    async def try_rule(self, body: queries.RuleName) -> list[Tried]:
        """Send a test of a rule to its targets."""
        return await self.alerting.try_rule(body.name)


async def _written(write: Write, value: object, form: str) -> bytes:
    """Write a value in a form; Arrow beside everything else, since its library is slow to load."""
    if form != "arrow":
        return write(value)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, write, value)
    except DefinitionError as exc:
        raise NotAnswered(406, "NotAcceptable", f"{exc} Or ask for .json or .csv.") from exc


def _known(member: Member) -> Member:
    """Give what is known of a symbol with 0 for a turnover that the exchange has not told."""
    return msgspec.structs.replace(member, turnover=0.0) if np.isnan(member.turnover) else member


def _screen_row(screen: Screen, kind: str, failure: str | None) -> rows.ScreenRow:
    return rows.ScreenRow(
        name=screen.name,
        kind=kind,
        timeframe=screen.timeframe,
        where=None if screen.where is None else repr(screen.where),
        columns={name: repr(expr) for name, expr in screen.columns.items()},
        order_by=None if screen.order_by is None else repr(screen.order_by),
        top=screen.top,
        scored=bool(screen.score),
        min_score=float(screen.min_score),
        side=screen.side,
        cooldown=screen.cooldown,
        symbols=screen.symbols,
        hash=screen.hash,
        failure=failure,
    )


@cache
def factor_rows() -> tuple[rows.FactorRow, ...]:
    """Give everything that is known of each factor."""
    return tuple(rows.FactorRow(*described(one).values()) for one in STOCK)


def _klines_json(bars: rows.Bars) -> bytes:
    klines: Klines = bars.klines
    stale = None if klines.stale is None else klines.stale.reason
    if bars.layout == "columns":
        columns = rows.KlineColumns(*(klines[name].tolist() for name in klines.dtype.names or ()))
        return msgspec.json.encode(rows.KlinesByColumn(bars.symbol, bars.timeframe, stale, columns))
    made = [rows.Kline(*row) for row in klines.tolist()]
    return msgspec.json.encode(rows.KlineRows(bars.symbol, bars.timeframe, stale, made))


def _list_csv(columns: list[str], values: list[msgspec.Struct]) -> bytes:
    return csv_of(rows_of(values), columns)


def _list(path: str, about: str, query: type[msgspec.Struct], work: Work, row: type[msgspec.Struct]) -> Route:
    """Make the route of a list."""
    forms: dict[str, Write] = {"json": msgspec.json.encode, "csv": partial(_list_csv, columns_of(row))}
    return Route(path, about, query, work, (row,), forms, rows=True)


_KLINES: Final = {
    "json": _klines_json,
    "csv": lambda bars: klines_csv(bars.klines),
    "arrow": lambda bars: klines_arrow(bars.klines),
}
_NOT_READY: Final = {503: "The hub can not be relied on now; the reasons say why."}
_NO_ARROW: Final = {406: "Arrow needs a library that is not installed; JSON and CSV do not."}
_NONE: Final = queries.Nothing

ROUTES: Final = (
    Route("/healthz", "The process is alive.", _NONE, Api.health, (answers.Health,)),
    Route(
        "/readyz", "The hub can be relied on.", _NONE, Api.ready, (answers.Readiness,), statuses=_NOT_READY
    ),
    Route(DOCUMENT, "This document.", _NONE, Api.document, (dict[str, Any],)),
    Route("/api/v1/status", "What the hub follows and counts.", _NONE, Api.status, (answers.Status,)),
    _list("/api/v1/symbols", "What is followed.", queries.SymbolsQuery, Api.symbols, rows.Symbol),
    Route(
        "/api/v1/klines",
        "Bars of one series, oldest first.",
        queries.KlinesQuery,
        Api.klines,
        (rows.KlineRows, rows.KlinesByColumn),
        _KLINES,
        statuses=_NO_ARROW,
    ),
    Route(
        "/api/v1/scan",
        "The market held against a screen at the newest closed bar.",
        queries.ScanQuery,
        Api.scan,
        (NamedScan,),
        {"json": msgspec.json.encode, "csv": scan_csv},
    ),
    Route("/api/v1/evidence", "What came after hits, by score.", _NONE, Api.evidence, (Calibrations,)),
    Route(
        "/api/v1/series",
        "Expressions of one symbol at each of its closed bars, oldest first.",
        queries.SeriesQuery,
        Api.series,
        (answers.Series,),
    ),
    Route(
        "/api/v1/check",
        "What is wrong with a text of the filter language.",
        queries.CheckQuery,
        Api.check,
        (answers.Checked,),
    ),
    _list("/api/v1/screens", "The screens known by name.", _NONE, Api.screens, rows.ScreenRow),
    _list("/api/v1/factors", "The factors.", queries.FactorsQuery, Api.factors, rows.FactorRow),
    _list("/api/v1/universe", "Who is worth a scan, and why.", _NONE, Api.universe, Member),
    _list("/api/v1/gaps", "The bars that lack.", queries.RowsQuery, Api.gaps, rows.GapRow),
    _list(
        "/api/v1/corrections",
        "The closed bars that were changed, the newest last.",
        queries.RowsQuery,
        Api.corrections,
        rows.CorrectionRow,
    ),
    _list(
        "/api/v1/alerts",
        "The newest alerts of the log, the newest last, and what became of them.",
        queries.AlertsQuery,
        Api.alerts,
        rows.AlertRow,
    ),
    _list(changes.RULES, "The rules of the file and of the board.", _NONE, Api.rules, RuleRow),
    _list("/api/v1/targets", "Who is told of alerts.", _NONE, Api.targets, TargetRow),
    Route(
        changes.RULES,
        "Judge a rule of the board from now on, in place of one of its name.",
        _NONE,
        Api.put_rule,
        (RuleRow,),
        body=NamedRule,
    ),
    Route(
        changes.DELETE,
        "Forget a rule of the board; its alerts stay in the log.",
        _NONE,
        Api.drop_rule,
        (answers.Done,),
        body=queries.RuleName,
    ),
    Route(
        changes.TEST,
        "Send a test of a rule to its targets, and say what became of it.",
        _NONE,
        Api.try_rule,
        (Tried,),
        rows=True,
        body=queries.RuleName,
    ),
    Route(
        "/freqtrade/pairlist",
        "Pairs as freqtrade's RemotePairList reads them.",
        queries.PairlistQuery,
        Api.pairlist,
        (answers.Pairlist,),
        plain=True,
    ),
)


@cache
def api_document() -> dict[str, Any]:
    """Give the OpenAPI document, with the paths that are no question and answer."""
    return document(ROUTES, {EVENTS: EVENTS_DOCUMENT, METRICS: METRICS_DOCUMENT}, VERSION, (answers.Close,))
