"""The rules: sane as they come, and every bad threshold refused with its bounds."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from klinehub.domain.universe_rules import KEEP, LIMITS, Rules
from klinehub.errors import DefinitionError


def test_every_threshold_has_bounds() -> None:
    assert [*LIMITS, "pins"] == list(Rules.__struct_fields__)


def rules(values: dict[str, Any]) -> Rules:
    return Rules(**values)


@pytest.mark.parametrize("name", LIMITS)
def test_a_threshold_beyond_its_bounds_is_refused_with_them(name: str) -> None:
    least, most = LIMITS[name]
    for value in (least - 1, most + 1, math.nan):
        with pytest.raises(DefinitionError, match=rf"`universe\.{name}` is .*from {least:g} to "):
            rules({name: value})


@pytest.mark.parametrize("name", [name for name in LIMITS if name.endswith(KEEP)])
def test_a_threshold_to_keep_that_is_harder_than_the_one_to_come_is_refused(name: str) -> None:
    come = name.removesuffix(KEEP)
    harder = getattr(Rules(), come) * 1.1

    with pytest.raises(DefinitionError, match=rf"`universe\.{name}` .* at most `{come}`"):
        rules({name: harder})


def test_more_pins_than_symbols_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"`universe\.most` is 1: it has to be at least 2"):
        Rules(most=1, pins=("AUSDT", "BUSDT", "AUSDT"))

    assert Rules(most=1, pins=("AUSDT", "AUSDT")).most == 1


def test_the_hours_read_reach_as_far_as_the_furthest_rule() -> None:
    assert Rules().hours_read == 14 * 24
    assert Rules(stable_days=1).hours_read == 8 * 24
    assert Rules(stable_days=1, day_surge_days=1).hours_read == 168 + 4


def test_rules_are_read_from_a_file_s_values() -> None:
    read = msgspec.convert({"elite_hours": 12, "pins": ["AUSDT"], "most": None}, Rules)

    assert read == Rules(elite_hours=12, pins=("AUSDT",))


def test_the_page_has_every_threshold_with_its_default_and_bounds() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "universe.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): (row[1], row[2].strip("| ")) for row in rows}
    default = {name: getattr(Rules(), name) for name in Rules.__struct_fields__}
    known = {
        name: (f"{value:.10g}" if value else "none", "{:g} to {:g}".format(*LIMITS.get(name, (0, 0))))
        for name, value in default.items()
    }

    assert told == known | {"pins": ("none", "symbols")}
