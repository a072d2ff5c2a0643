"""`klinehub top` where what it needs is not there."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from klinehub.app import top
from klinehub.errors import DefinitionError, NoHub

GIVEN: dict[str, Any] = dict.fromkeys(
    ("once", "as_json", "timeframe", "where", "columns", "preset", "sort", "top", "url", "token", "palette")
)


@pytest.fixture(autouse=True)
def nobody_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(top, "find_spec", lambda name: None)


def test_a_window_without_its_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)

    with pytest.raises(DefinitionError, match=r"pip install 'klinehub\[top\]'"):
        asyncio.run(top.top(GIVEN))


def test_what_is_printed_once_needs_no_library() -> None:
    with pytest.raises(NoHub):
        asyncio.run(top.top({**GIVEN, "once": True}))


def test_in_a_pipe_it_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)

    with pytest.raises(NoHub):
        asyncio.run(top.top(GIVEN))
