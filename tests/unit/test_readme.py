"""Runs the commands and code of the README and the guides as they are printed.

1. A fenced block marked `console`, `sh`, `bash` or `python` is run, in a folder of its own.
2. In a block of commands each line that starts with `$ ` is one command; other lines are what it printed.
3. A block after the line `<!-- not run: reason -->` is left out; without a reason it is an error.
4. The README's translation holds the same code, headings, links, names and rows.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"
TRANSLATED: Final = ROOT / "README.zh-CN.md"
PAGES: Final = (README, TRANSLATED, *sorted((ROOT / "docs").glob("*.md")))
COMMANDS: Final = frozenset({"console", "sh", "bash"})
CODE: Final = "python"
SECONDS: Final = 120
BLOCK: Final = re.compile(
    r"^(?:<!-- not run:(?P<reason>.*?)-->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Any fenced block, whatever it is written in.
FENCE: Final = re.compile(
    r"^(?P<left_out><!-- not run:.*?-->\n+)?^(?P<text>```\w*\n.*?^```)$", re.MULTILINE | re.DOTALL
)
HEADING: Final = re.compile(r"^(#+) ", re.MULTILINE)
PICTURE: Final = re.compile(r"!\[[^\]]*\]\([^)]+\)")
LINK: Final = re.compile(r"\]\(([^)]+)\)")
NAME: Final = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """One fenced block: where it is, what it is written in, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """What a reader would type: the lines after a prompt, or the whole of a program."""
        if self.language == CODE:
            return [self.text]
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(markdown: str, page: str = "README.md") -> list[Block]:
    """Give the blocks of a text that hold commands or code."""
    return [
        Block(
            page=page,
            line=markdown.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            text=found["text"],
            reason=None if found["reason"] is None else found["reason"].strip(),
        )
        for found in BLOCK.finditer(markdown)
        if found["language"] in {*COMMANDS, CODE}
    ]


def breaches(found: list[Block]) -> list[str]:
    """List the blocks that are left out for no reason, and those to be run that hold nothing to run."""
    return [
        f"{block.page}:{block.line}: " + ("left out for no reason" if block.reason == "" else "no `$ ` line")
        for block in found
        if block.reason == "" or (block.reason is None and not block.commands)
    ]


def run(block: Block, folder: Path) -> None:
    """Run a block as its reader would, with this environment's programs first on the path."""
    here = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "error" if block.language == CODE else "default",
    }
    for command in block.commands:
        asked = [sys.executable, "-c", command] if block.language == CODE else ["sh", "-euc", command]
        done = subprocess.run(
            asked, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"{block.page}:{block.line}: {command}\n{done.stdout}\n{done.stderr}"


FOUND: Final = [found for page in PAGES for found in blocks(page.read_text("utf-8"), page.name)]
# What is run of the README is not run again for its translation, which holds the same.
RUN: Final = [block for block in FOUND if block.reason is None and block.page != TRANSLATED.name]


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"{block.page}:{block.line}")
@pytest.mark.timeout(5 * SECONDS)
def test_each_page_runs_as_printed(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


def test_each_block_is_run_or_says_why_not() -> None:
    assert FOUND
    assert breaches(FOUND) == []


def told(markdown: str) -> dict[str, object]:
    """Give what a text and its translation have in common: code, headings by level, links, and names."""
    prose = FENCE.sub("", markdown)
    return {
        "code": [(found["left_out"] is None, found["text"]) for found in FENCE.finditer(markdown)],
        "headings": [len(level) for level in HEADING.findall(prose)],
        # A picture may show another language.
        "pictures": len(PICTURE.findall(prose)),
        "links": Counter(LINK.findall(PICTURE.sub("", prose))) - Counter([README.name, TRANSLATED.name]),
        "names": Counter(NAME.findall(prose)),
        "rows": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "items": sum(line.startswith("- ") for line in prose.splitlines()),
    }


def test_the_translation_says_the_same() -> None:
    ours, theirs = (told(page.read_text("utf-8")) for page in (README, TRANSLATED))

    assert theirs == ours


def test_each_language_leads_to_the_other() -> None:
    assert f"]({TRANSLATED.name})" in README.read_text("utf-8")
    assert f"]({README.name})" in TRANSLATED.read_text("utf-8")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("$ klinehub run", "$ klinehub run --json"),
        ("# a comment", "# ein Kommentar"),
        ("<!-- not run: it needs the internet -->\n", ""),
        ("## Second", "### Second"),
        ("docs/why.md", "docs/api.md"),
        ("![a picture](one.png)\n", ""),
        ("`--once`", "`--twice`"),
        ("| a | b |", "| a |"),
        ("- item\n", ""),
    ],
)
def test_a_translation_that_strays_is_caught(before: str, after: str) -> None:
    assert before in BILINGUAL
    assert told(BILINGUAL) == told(BILINGUAL.replace("words", "Wörter").replace("one.png", "eins.png"))
    assert told(BILINGUAL) != told(BILINGUAL.replace(before, after))


BILINGUAL: Final = """
# First

words, [words](docs/why.md), `--once`

<!-- not run: it needs the internet -->
```sh
$ klinehub run
```

## Second

| a | b |

- item

![a picture](one.png)

```toml
# a comment
```
"""


PLANTED: Final = """
```console
$ python -c 'print(6 * 7)'
42
$ test -d .
```

<!-- not run: it needs the internet -->
```sh
$ klinehub run
```

<!-- not run: -->
```python
import klinehub
```

```sh
klinehub demo
```

```toml
symbols = 100
```

```python
raise SystemExit(3)
```
"""


def test_blocks_are_found_with_their_reasons_and_commands() -> None:
    found = blocks(PLANTED)

    assert [block.reason for block in found] == [None, "it needs the internet", "", None, None]
    assert found[0].commands == ["python -c 'print(6 * 7)'", "test -d ."]
    assert [block.line for block in found] == [2, 9, 14, 18, 26]


def test_a_block_left_out_for_no_reason_or_without_a_prompt_is_caught() -> None:
    assert breaches(blocks(PLANTED)) == ["README.md:14: left out for no reason", "README.md:18: no `$ ` line"]


def test_a_block_that_works_passes(tmp_path: Path) -> None:
    run(blocks(PLANTED)[0], tmp_path)


def test_a_block_that_fails_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"README\.md:26"):
        run(blocks(PLANTED)[-1], tmp_path)


def test_a_command_that_fails_is_caught(tmp_path: Path) -> None:
    block = Block(page="README.md", line=1, language="sh", text="$ no-such-program --once\n", reason=None)

    with pytest.raises(AssertionError, match="not found"):
        run(block, tmp_path)
