"""The alerts of the settings: the file of their log, and those who bring them to targets."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.message import Style
from klinehub.alerts.messenger import Messenger
from klinehub.alerts.outbox import MEMORY, Outbox
from klinehub.alerts.posting import Post
from klinehub.alerts.quiet import Quiet
from klinehub.alerts.texts import texts
from klinehub.alerts.webhook import Webhook, system_way
from klinehub.app import show
from klinehub.app.config import Config
from klinehub.app.library import data_folder, system_network
from klinehub.domain.listing import Listing
from klinehub.errors import StoreError
from klinehub.feed.network import endpoint, is_loopback
from klinehub.hub import Hub
from klinehub.settings import AlertSettings

FILE: Final = "alerts.db"


def log_file(config: Config) -> Path | None:
    """Give the file of the log that the setting `alerts.path` names; None for one in memory.

    By default it lies beside the user's own store, one for each exchange; a simulated one has none.
    """
    settings, hub = config.alerts, config.hub
    if settings.path == "off" or (settings.path == "auto" and is_loopback(endpoint(hub.rest_url)[0])):
        return None
    if settings.path != "auto":
        return Path(settings.path).expanduser()
    # Where no store is kept, or in a database, alerts are kept in the user's own folder all the same.
    kept = data_folder(hub) or data_folder(msgspec.structs.replace(hub, store="auto"))
    return None if kept is None else kept / hub.exchange / FILE


def open_log(config: Config, now: int) -> Outbox:
    """Open the log of alerts, made at *now* (ms) if it is new.

    Raises StoreError where the file that the user named can not be opened; without the default one alerts
    are kept in memory.
    """
    path = log_file(config)
    if path is None:
        return Outbox(MEMORY, now=now)
    try:
        outbox = Outbox(path, now=now)
    except StoreError as exc:
        if config.alerts.path != "auto":
            raise
        warnings.warn(f"Alerts are kept in memory alone: {exc}", stacklevel=2)
        return Outbox(MEMORY, now=now)
    if outbox.notice:
        warnings.warn(outbox.notice, stacklevel=2)
    return outbox


def _say(line: str) -> None:
    """Say on stderr what keeps a target from being told anything."""
    show.err.print(line, style="yellow")


def couriers_of(hub: Hub, config: Config, settings: AlertSettings, log: Log) -> Couriers:
    """Give who brings alerts to the targets of the settings: messengers and webhooks."""
    timing = Timing(hub.now, hub.clock.rate, random.random)
    oldest, zone = int(settings.oldest * 1000), show.zone(config.tz)
    quiet = {
        name: Quiet(*target.hours, zone)
        for name, target in config.targets.items()
        if target.hours is not None
    }
    posts = posts_of(config, settings.url, now=hub.now, listing=hub.listings.get)
    return Couriers(
        (Courier(post, log, timing, quiet=quiet.get(post.name), oldest=oldest, say=_say) for post in posts),
        log,
        hub.now,
    )


def posts_of(
    config: Config, url: str, *, now: Callable[[], int], listing: Callable[[str], Listing | None]
) -> list[Post]:
    """Give the ways to the targets of the settings; links begin with *url*, *now* is exchange time in ms."""
    zone, route = show.zone(config.tz), system_network(config.proxy).route
    messengers = [
        Messenger(name, target, Style(texts(target.lang), zone, url), route)
        for name, target in config.targets.items()
    ]
    webhooks = [
        Webhook(name, hook, system_way(), now=now, listing=listing, exchange=config.exchange)
        for name, hook in config.webhooks.items()
    ]
    return [*messengers, *webhooks]
