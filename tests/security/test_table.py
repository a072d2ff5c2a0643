"""docs/security.md: twenty rows, and every test that it names is there."""

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows() -> dict[int, str]:
    """Give the last cell of each row by its number."""
    found = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
    return {int(number): cell for number, cell in found}


def named(cell: str) -> list[tuple[str, str]]:
    """Give file and name of each test of a cell; one without a file is in that of the one before."""
    file, found = "", []
    for path, name in re.findall(r"`([^`:]*)::(\w+)`", cell):
        file = path or file
        found.append((file, name))
    return found


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_twenty_rows() -> None:
    assert list(rows()) == list(range(1, 21))


def test_every_row_has_its_tests() -> None:
    for number, cell in rows().items():
        tests = named(cell)
        assert tests, number
        for file, name in tests:
            assert name in functions_of(file), f"{number}: {file}::{name}"


def test_every_test_of_a_row_is_named_after_it() -> None:
    for file in sorted((ROOT / "tests" / "security").glob("test_*.py")):
        if file.name == Path(__file__).name:
            continue
        names = [name for name in functions_of(str(file.relative_to(ROOT))) if name.startswith("test_")]
        assert all(re.match(r"test_row_(0[1-9]|1[0-9]|20)_", name) for name in names), file.name
