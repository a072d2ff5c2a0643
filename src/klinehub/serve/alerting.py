"""Alerting: the alerts of a served hub: its rules, what they decide, the log, and who is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from klinehub.alerts.deciding import RETRY, Deciding
from klinehub.alerts.delivering import Delivery, Tried
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.facts import facts_of
from klinehub.alerts.judging import asked_of
from klinehub.alerts.log import Log
from klinehub.alerts.message import link_of
from klinehub.alerts.outbox import MEMORY, Logged, Outbox
from klinehub.alerts.rule import Origin, Rule, RuleText, rule_of
from klinehub.alerts.rulebook import Rulebook
from klinehub.alerts.telling import Market
from klinehub.errors import StoreError, UnknownName
from klinehub.hub import Hub
from klinehub.panel.ahead import Ahead
from klinehub.scan.alerts import Alert, alerts
from klinehub.scan.running import Scan
from klinehub.scan.screen import Screen
from klinehub.serve.rows import AlertRow
from klinehub.settings import AlertSettings

# What a target is tried out with that no rule is named for.
_TEST: Final = RuleText(where="close > 0")


class Alerting:
    """The alerts of *hub*, by its *screens* and by *rules*; open while its `running` block runs.

    *open_outbox* opens the log, in memory where it is not given, and *deliver* makes what sends from it.
    `to` names the targets of screens that are not for all, by the screen's name.
    """

    delivery: Delivery
    deciding: Deciding
    rulebook: Rulebook
    log: Log

    def __init__(
        self,
        hub: Hub,
        screens: Mapping[str, Screen],
        *,
        rules: Mapping[str, RuleText] | None = None,
        to: Mapping[str, Sequence[str]] | None = None,
        settings: AlertSettings | None = None,
        open_outbox: Callable[[], Outbox] | None = None,
        deliver: Callable[[Log], Delivery] | None = None,
    ) -> None:
        self._hub, self._screens = hub, screens
        self._texts, self._to = rules or {}, to or {}
        self._settings = settings or AlertSettings()
        self._open = open_outbox or (lambda: Outbox(MEMORY, now=hub.now()))
        self._deliver = deliver or (lambda log: Couriers((), log, hub.now))

    @asynccontextmanager
    async def running(
        self, on_kept: Callable[[list[Logged]], None]
    ) -> AsyncIterator[list[Coroutine[Any, Any, None]]]:
        """Open the log while the block runs, and give the work that is to be done meanwhile.

        *on_kept* is told of alerts once they are written down. Raises StoreError where the log that the user
        named can not be opened, and UnknownName for a target of a rule or a screen that is not there.
        """
        async with Log(self._open) as self.log:
            self.delivery = self._deliver(self.log)

            def tell(new: list[Logged]) -> None:
                self.delivery.wake()
                on_kept(new)

            oldest = int(self._settings.oldest * 1000)
            self.deciding = Deciding(
                self._market(), self.log, reach=self.delivery.reached, on_kept=tell, oldest=oldest
            )
            self.rulebook = Rulebook(self._texts, self._made, self.log, self.deciding)
            for to in (*self._to.values(), *(text.to for text in self._texts.values())):
                self._check_targets(to)
            yield [self._decide(), self.delivery.run()]

    @property
    def failure(self) -> str:
        """Why alerts can not be written down, empty where they are."""
        return self.deciding.fault

    def _market(self) -> Market:
        hub = self._hub
        return Market(
            ground=hub.scanning.ground,
            now=hub.now,
            due=hub.scanning.due,
            ahead=lambda name, bar: Ahead(hub.panel(name), bar),
            universe=lambda: hub.choosing.universe,
            stale=hub.all_stale,
            pair=hub.pair,
            likeness=hub.scanning.likeness,
        )

    async def _decide(self) -> None:
        while True:
            try:
                await self.rulebook.begin()
                break
            except StoreError as exc:
                self.deciding.fault = str(exc)
                await asyncio.sleep(RETRY)
        await self.deciding.run()

    def _made(self, name: str, text: RuleText, origin: Origin) -> Rule:
        """Make a rule of its text; raises DefinitionError for one that this hub can not judge."""
        scanning = self._hub.scanning
        made = rule_of(name, text, scanning.base, self._screens, origin=origin)
        for expr in asked_of(made):
            scanning.check(expr, made.timeframe)
        return made

    def _check_targets(self, to: Sequence[str]) -> None:
        for name in to:
            if name not in self.delivery.names:
                raise UnknownName("target", name, self.delivery.names)

    def note(self, scan: Scan) -> None:
        """Have what is new in a scan of a screen of the user's own written down."""
        result, hub = scan.result, self._hub
        names = [hit.symbol for hit in result.results]
        if names:
            end = min(hub.panel(result.timeframe).timeframe.close_time(result.bar) + 1, hub.now())
            facts = facts_of(hub.scanning.ground.panels, result.timeframe, result.bar, names, end)
            found = alerts(result.results, scan, hub.pair, facts.__getitem__)
            self.deciding.note(found, self._to.get(result.screen, ()))

    async def entries(self, after: int, limit: int, symbol: str | None = None) -> list[AlertRow]:
        """Give the newest alerts of the log with a number above *after*, oldest first."""
        found = await self.log.do(lambda outbox: outbox.entries(after, limit, symbol))
        return [self.row(one) for one in found]

    def row(self, logged: Logged) -> AlertRow:
        """Write an alert of the log as it is shown."""
        return alert_row(logged, self._settings.url)

    async def put(self, name: str, text: RuleText) -> None:
        """Judge a rule of the board from now on; see `Rulebook.put`. Its targets have to be there."""
        self._check_targets(text.to)
        await self.rulebook.put(name, text)

    async def try_rule(self, name: str) -> list[Tried]:
        """Send a test of a rule to its targets; raises UnknownName for a rule that is not there."""
        rule = self.rulebook.named(name)
        return await self._tried(self.deciding.sample(rule), rule.to)

    async def try_name(self, name: str) -> list[Tried]:
        """Send a test of a rule, or to a target, whichever has this name; raises UnknownName for neither."""
        if name not in self.delivery.names:
            return await self.try_rule(name)
        rule = rule_of("test", _TEST, self._hub.scanning.base, {})
        return await self.delivery.test(self.deciding.sample(rule), [name])

    async def _tried(self, alert: Alert, to: Sequence[str]) -> list[Tried]:
        reached = self.delivery.reached(alert, to)
        return await self.delivery.test(alert, reached) if reached else []


def alert_row(logged: Logged, url: str) -> AlertRow:
    """Write an alert of the log as it is shown, with a link to the board at *url*."""
    kept, alert = logged.kept, logged.kept.alert
    told = {name: getattr(alert, name) for name in AlertRow.__struct_fields__ if hasattr(alert, name)}
    link = link_of(url, alert, kept.time)
    return AlertRow(**told, id=kept.id, time=kept.time, link=link, deliveries=logged.deliveries)
