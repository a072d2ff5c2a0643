"""Every kline of a whole market, every timeframe, live in memory and provably right."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klinehub.app.library import Hub
    from klinehub.app.market import simulated
    from klinehub.app.sharing import attach
    from klinehub.app.stored import open
    from klinehub.errors import DataError, DefinitionError, FeedError, KlinehubError
    from klinehub.factors.define import Window, factor
    from klinehub.scan.scanner import compute
    from klinehub.scan.screen import Screen

__all__ = [
    "DataError",
    "DefinitionError",
    "FeedError",
    "Hub",
    "KlinehubError",
    "Screen",
    "Window",
    "attach",
    "compute",
    "factor",
    "open",
    "simulated",
]

# Loaded when first asked for, so that `klinehub --help` does not wait for numba.
_HOME = {
    "Hub": "klinehub.app.library",
    "Screen": "klinehub.scan.screen",
    "Window": "klinehub.factors.define",
    "attach": "klinehub.app.sharing",
    "compute": "klinehub.scan.scanner",
    "factor": "klinehub.factors.define",
    "open": "klinehub.app.stored",
    "simulated": "klinehub.app.market",
}


def __getattr__(name: str) -> object:
    """Load a public name from the room it lives in."""
    if name not in __all__:
        raise AttributeError(f"module 'klinehub' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "klinehub.errors")), name)
