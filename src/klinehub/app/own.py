"""Screens of one's own: loaded from a Python file that the user names."""

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from klinehub.errors import DefinitionError, KlinehubError, UnknownName
from klinehub.factors.expr import terms
from klinehub.scan.screen import Screen


def own_screen(text: str) -> Screen:
    """Load the screen that `FILE[:NAME]` names, `screen` without a name; raises DefinitionError.

    The file is run, as Python runs any file of yours.
    """
    file, _, name = text.rpartition(":") if ":" in text and not Path(text).exists() else (text, "", "screen")
    path = Path(file).expanduser()
    if not path.is_file():
        raise DefinitionError(f"There is no file {file}: write --file mine.py:screen.")
    found = vars(_loaded(path))
    screens = {key: value for key, value in found.items() if isinstance(value, Screen)}
    if name not in screens:
        if not screens:
            raise DefinitionError(f"{file} defines no screen: write `screen = Screen(name=..., ...)` in it.")
        raise UnknownName(f"screen of {path.name}", name, screens)
    return screens[name]


def own_frames(frames: tuple[str, ...], screen: Screen | None) -> tuple[str, ...]:
    """Give the timeframes that a hub needs to keep for a screen, those of the settings among them."""
    if screen is None:
        return frames
    named = [term.params[0] for expr in screen.exprs.values() for term in terms(expr) if term.op == "on"]
    return tuple(dict.fromkeys((*frames, *named, *([screen.timeframe] if screen.timeframe else []))))


def _loaded(path: Path) -> object:
    """Run a file as a module of its own name."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} is no Python file: its name has to end in .py.")
    module = module_from_spec(spec)
    # Where compiled factors find the module they came from.
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except KlinehubError:
        raise
    except Exception as exc:
        steps = traceback.extract_tb(exc.__traceback__)
        line = next((one.lineno for one in steps if one.filename == str(path)), None)
        where = f"{path.name}, line {line}" if line else path.name
        raise DefinitionError(f"{where}: {type(exc).__name__}: {exc}.") from exc
    finally:
        sys.path.remove(str(path.parent))
    return module
