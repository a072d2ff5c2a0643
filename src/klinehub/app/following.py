"""Following: the screens and rules of klinehub.toml, and where their hits go."""

from collections.abc import Sequence

import msgspec

from klinehub.alerts.rule import Rule, rule_of
from klinehub.app.alerting import couriers_of, open_log
from klinehub.app.config import Config
from klinehub.app.own import own_frames
from klinehub.errors import UnknownName
from klinehub.hub import Hub
from klinehub.scan.scanner import default_screen
from klinehub.scan.screen import Screen
from klinehub.serve.signals import Signals


def base_screen(config: Config) -> Screen:
    """Give the screen of the default score, which others are made on."""
    hub = config.hub
    return default_screen(
        hub.timeframes, hub.scan_timeframe, weights=hub.weights, unavailable=hub.unavailable
    )


def own_screens(config: Config) -> list[Screen]:
    """Give the screens and rules of the settings; raises DefinitionError for one that can not be."""
    if not (config.screens or config.watch):
        return []
    base = base_screen(config)
    found = [text.screen(name, base, config.top) for name, text in config.screens.items()]
    return found + [text.screen(name, base) for name, text in config.watch.items()]


def whole(rules: Sequence[Rule]) -> list[Screen]:
    """Give screens that read all that rules read."""
    clears = [{} if rule.clear is None else {"clear": rule.clear} for rule in rules]
    return [
        msgspec.structs.replace(rule.screen, columns={**rule.screen.columns, **clear})
        for rule, clear in zip(rules, clears, strict=True)
    ]


def keeping(config: Config, screens: Sequence[Screen]) -> Config:
    """Have everything kept that *screens* read."""
    hub = config.hub
    for screen in screens:
        hub = msgspec.structs.replace(
            hub.keeping(screen.beside), timeframes=own_frames(hub.timeframes, screen)
        )
    return msgspec.structs.replace(config, hub=hub)


def rules_of(config: Config) -> list[Rule]:
    """Give the rules of the settings; raises DefinitionError for one that can not be."""
    own, hub = {screen.name: screen for screen in own_screens(config)}, config.hub

    def base(frame: str | None) -> Screen:
        frames = hub.timeframes if frame is None else (*hub.timeframes, frame)
        return default_screen(
            frames, frame or hub.scan_timeframe, weights=hub.weights, unavailable=hub.unavailable
        )

    return [rule_of(name, text, base, own) for name, text in config.alert_rules.items()]


def signals_of(hub: Hub, config: Config, exchange: str, screens: Sequence[Screen], url: str = "") -> Signals:
    """Pass on what a hub finds by *screens* and rules, to targets too; the board is at *url*."""
    known = [*(screen.name for screen in screens), *config.alert_rules]
    for name, settings in config.webhooks.items():
        for wanted in settings.screens:
            if wanted not in known:
                raise UnknownName(f"screen of webhooks.{name}", wanted, known)
    alerts = config.alerts if config.alerts.url else msgspec.structs.replace(config.alerts, url=url)
    to = {name: text.to for name, text in config.screens.items()}
    to |= {name: text.to for name, text in config.watch.items()}
    return Signals(
        hub,
        exchange,
        screens,
        rules=config.alert_rules,
        to=to,
        settings=alerts,
        open_outbox=lambda: open_log(config, hub.now()),
        deliver=lambda log: couriers_of(hub, config, alerts, log),
    )
