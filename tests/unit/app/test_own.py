"""Screens of one's own: loaded from a file, with errors that name the line."""

from pathlib import Path

import pytest

from klinehub.app.own import own_frames, own_screen
from klinehub.errors import DefinitionError, UnknownName

GOOD = """
from klinehub.factors.define import Window, factor
from klinehub.scan.screen import Screen

@factor(window=lambda n: n + 1)
def gain(close: Window, n: int = 3) -> float:
    return close[-1] / close[0]

screen = Screen(name="mine", timeframe="15m", where=gain().on("4h") > 1, columns={"gain": gain(5)})
other = Screen(name="other", where=gain(7) > 1)
"""


def test_a_screen_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "good_screens.py"
    path.write_text(GOOD)

    assert own_screen(str(path)).name == "mine"
    assert own_screen(f"{path}:other").name == "other"
    assert own_frames(("5m", "15m"), own_screen(str(path))) == ("5m", "15m", "4h")
    assert own_frames(("5m",), None) == ("5m",)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("x = 1", DefinitionError, "defines no screen"),
        (GOOD, UnknownName, "Did you mean 'other'"),
        ("x = 1\ny = 1 / 0\n", DefinitionError, r"line 2: ZeroDivisionError"),
        ("x = (\n", DefinitionError, "SyntaxError"),
        (GOOD.replace("Window,", "Window, factors,"), DefinitionError, "ImportError"),
        (GOOD.replace("close: Window", "clse: Window"), UnknownName, "Did you mean 'close'"),
    ],
)
def test_a_file_that_gives_none_is_told_in_one_sentence(
    tmp_path: Path, text: str, error: type[Exception], said: str
) -> None:
    path = tmp_path / "bad_screens.py"
    path.write_text(text)
    with pytest.raises(error, match=said) as caught:
        own_screen(f"{path}:oter")

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="There is no file"):
        own_screen(f"{tmp_path}/none.py:screen")
