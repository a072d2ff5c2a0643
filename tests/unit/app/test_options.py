"""Times as users type them."""

import pytest

from klinehub.app.options import when
from klinehub.errors import DefinitionError


@pytest.mark.parametrize(
    "text",
    ["2025-10-10T21:30:00Z", "2025-10-10T21:30", "2025-10-10 21:30+00:00", "2025-10-10T23:30:00+02:00"],
)
def test_iso_times_are_utc_unless_they_name_a_zone(text: str) -> None:
    assert when(text) == 1_760_131_800_000


def test_anything_else_is_refused_with_an_example() -> None:
    with pytest.raises(DefinitionError, match="2025-10-10T21:30:00Z"):
        when("yesterday")
