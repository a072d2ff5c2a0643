"""The notebooks under docs/ run as they stand, and show what they show when they are run."""

import json
from pathlib import Path
from typing import Final

import pytest
from tests.notebook import run, written

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.ipynb")), ids=lambda path: path.name)
@pytest.mark.timeout(120)
def test_a_notebook_shows_what_its_cells_give(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = path.read_text("utf-8")

    assert written(run(json.loads(kept))) == kept, f"run: python -m tests.notebook docs/{path.name}"


def test_a_cell_shows_what_it_prints_and_its_last_value() -> None:
    cells = [{"cell_type": "code", "source": ["x = 2\n", "print('a')\n", "x + 1"]}, {"cell_type": "markdown"}]
    first, second = run({"cells": cells})["cells"]

    assert [output.get("text") or output["data"]["text/plain"] for output in first["outputs"]] == [
        ["a\n"],
        ["3"],
    ]
    assert second == {"cell_type": "markdown"}


def test_a_cell_that_fails_is_caught() -> None:
    with pytest.raises(NameError):
        run({"cells": [{"cell_type": "code", "source": ["nothing_such"]}]})
