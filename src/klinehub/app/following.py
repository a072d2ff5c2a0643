"""Following: the screens and rules of klinehub.toml, and where their hits go."""

import random
from collections.abc import Sequence

import msgspec

from klinehub.app.config import Config
from klinehub.app.own import own_frames
from klinehub.errors import UnknownName
from klinehub.hub import Hub
from klinehub.scan.scanner import default_screen
from klinehub.scan.screen import Screen
from klinehub.serve.signals import Signals
from klinehub.serve.webhook import Webhook, system_way


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


def keeping(config: Config, screens: Sequence[Screen]) -> Config:
    """Have everything kept that *screens* read."""
    hub = config.hub
    for screen in screens:
        hub = msgspec.structs.replace(
            hub.keeping(screen.beside), timeframes=own_frames(hub.timeframes, screen)
        )
    return msgspec.structs.replace(config, hub=hub)


def signals_of(hub: Hub, config: Config, exchange: str, screens: Sequence[Screen]) -> Signals:
    """Pass on what a hub finds by *screens*, to webhooks too."""
    known = [screen.name for screen in screens]
    for name, settings in config.webhooks.items():
        for wanted in settings.screens:
            if wanted not in known:
                raise UnknownName(f"screen of webhooks.{name}", wanted, known)
    hooks = [
        Webhook(
            name,
            settings,
            system_way(random.random),
            now=hub.now,
            listing=hub.listings.get,
            exchange=config.exchange,
        )
        for name, settings in config.webhooks.items()
    ]
    return Signals(hub, exchange, screens, hooks)
