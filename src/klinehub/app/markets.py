"""Further markets of a running hub: what each is followed with, and where its panel is shared."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from klinehub.app.config import Config
from klinehub.app.library import Hub
from klinehub.serve.markets import Further
from klinehub.settings import HubSettings


def settings_of(config: Config, name: str) -> HubSettings:
    """Give the settings of a further market's hub: its own table, and what it shares with the first."""
    text = config.markets.get(name)
    own = {} if text is None else msgspec.structs.asdict(text)
    set_here = {key: value for key, value in own.items() if value not in {None, ()}}
    return config.hub.of_market(name, **set_here, panel_file=_panel_of(config.hub.panel_file, name))


def further(config: Config, say: Callable[[str], None]) -> list[Further]:
    """Give the further markets of the settings, not live yet; raises DefinitionError for bad settings."""
    found = {name: settings_of(config, name) for name in config.also}
    return [Further(name, partial(_opened, config, settings), say) for name, settings in found.items()]


def _opened(config: Config, settings: HubSettings) -> Hub:
    return Hub(proxy=config.proxy, **msgspec.structs.asdict(settings))


def _panel_of(first: str, name: str) -> str:
    """Give the file of a further market's panel, beside that of the first one."""
    return first if first in {"", "off"} else str(Path(first).with_name(f"{Path(first).name}-{name}"))
