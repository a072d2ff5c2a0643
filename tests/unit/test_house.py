"""The rules of the house, each read from the sources, and each shown to catch a planted breach.

1. Imports point strictly down the floors; rooms on one floor do not know each other; nothing is circular.
2. Below the app's bench there is no wall clock and no randomness that a seed does not decide.
3. Names say what a thing is, files stay short, the front door stays small.
4. Nothing that is kept in version control names the machine it was written on, or a package registry.
"""

import ast
import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "klinehub"

# Errors are the ground that every room stands on; the front door stands above all rooms.
FRONT_DOOR: Final = 8
FLOORS: Final = {
    "errors": -1,
    "domain": 0,
    "panel": 1,
    "factors": 2,
    "feed": 2,
    "store": 2,
    "dialect": 2,
    "scan": 3,
    "settings": 3,
    "evidence": 4,
    "alerts": 4,
    "hub": 4,
    "bridge": 5,
    "compiled": 5,
    "relay": 5,
    "serve": 5,
    "sim": 5,
    "bench": 6,
    "app": 7,
    "__init__": FRONT_DOOR,
    "__main__": FRONT_DOOR,
}
FIRST_FLOOR_WITH_CLOCKS: Final = FLOORS["bench"]

CLOCKS: Final = frozenset(
    {
        *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")),
        "time.sleep",
        "datetime.date.today",
        *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
        *(f"pandas.Timestamp.{name}" for name in ("now", "utcnow", "today")),
        "os.urandom",
        "uuid.uuid1",
        "uuid.uuid4",
    },
)
DICE: Final = ("random.", "secrets.", "numpy.random.")
# These are types, and sources of numbers when they are called with a seed.
SEEDED: Final = frozenset(f"numpy.random.{name}" for name in ("SeedSequence", "PCG64"))
SEEDED_ONLY_AS_CALL: Final = frozenset({"numpy.random.default_rng"})
TYPES: Final = frozenset({"numpy.random.Generator", "numpy.random.BitGenerator"})

BANNED_WORDS: Final = re.compile(r"(manager|handler|helper|util|processor)s?|utilit(y|ies)")
BANNED_PAIR: Final = re.compile(r"data_?provider", re.IGNORECASE)
# An own event loop overrides methods that the standard library has named.
DICTATED: Final = frozenset(dir(asyncio.AbstractEventLoop))
LONGEST_FILE: Final = 500
WIDEST_DOOR: Final = 12

# In pieces, so that this file does not contain what it forbids.
UNWELCOME: Final = tuple(
    re.compile("".join(pieces))
    for pieces in (
        (r"(?<![\w.])/", r"work/(main|shared)\b"),
        (r"(?<![\w.])/", r"root/"),
        (r"(?<![\w.])/", r"(home|Users)/\w+/"),
        (r"(?<![\w.])/", r"opt/(wheels|pypi)"),
        (r"(?<![\w.])/", r"tmp/(kh|bash)"),
        (r"\bpy", r"pi\.org"),
        (r"\bpython", r"hosted\.org"),
        (r"\bana", r"conda\.(org|com)"),
        (r"\bregistry\.", r"npmjs"),
    )
)


def modules(root: Path = ROOT) -> dict[str, str]:
    """Read the package: dotted module name to source; a package's own file ends in `__init__`."""
    source = root / "src"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts): path.read_text("utf-8")
        for path in sorted((source / PACKAGE).rglob("*.py"))
    }


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imported(module: str, source: str, *, at_run_time: bool = False) -> Iterator[str]:
    """Give each klinehub module or name that *source* imports, as dotted text."""
    tree = parsed(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def floor_breaches(sources: dict[str, str]) -> list[str]:
    """List each import that does not point down, and each room that has no floor."""
    breaches = []
    for module, source in sources.items():
        here = room(module)
        if here not in FLOORS:
            breaches.append(f"{module}: the room {here!r} has no floor")
            continue
        for name in imported(module, source):
            there = room(name)
            if there not in FLOORS:
                breaches.append(f"{module} imports {name}: no such room, or a name of the front door")
            elif there != here and FLOORS[there] >= FLOORS[here]:
                breaches.append(f"{module} imports {name}, which is not on a lower floor")
    return breaches


def import_circle(sources: dict[str, str]) -> list[str]:
    """Give one circle of imports that happen at run time, or nothing."""
    names = {module.removesuffix(".__init__"): module for module in sources}
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        targets = {
            candidate if candidate in names else candidate.rpartition(".")[0]
            for candidate in imported(module, source, at_run_time=True)
        }
        graph[module] = {names[target] for target in targets if target in names}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        return [str(name) for name in circle.args[1]]
    return []


def origins(tree: ast.Module) -> dict[str, str]:
    """Map each local name that an import made to the dotted name it stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                plain = alias.name.split(".")[0]
                found[alias.asname or plain] = alias.name if alias.asname else plain
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.AST, known: dict[str, str]) -> str:
    """Spell an attribute chain out from its import, empty where it does not start at one."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, known)
        return f"{base}.{node.attr}" if base else ""
    return ""


def chance_breaches(sources: dict[str, str]) -> list[str]:
    """List each use of a wall clock or of unseeded randomness below the floor that may have them."""
    breaches = []
    for module, source in sources.items():
        if FLOORS.get(room(module), 0) >= FIRST_FLOOR_WITH_CLOCKS:
            continue
        tree = parsed(source)
        known = origins(tree)
        seeded = {
            id(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and (node.args or node.keywords)
        }
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            name = dotted(node, known)
            allowed = (
                name in TYPES
                or (name in SEEDED and (id(node) in seeded or id(node) not in called))
                or (name in SEEDED_ONLY_AS_CALL and id(node) in seeded)
            )
            if name in CLOCKS or (name.startswith(DICE) and not allowed):
                breaches.append(f"{module}:{getattr(node, 'lineno', 0)} uses {name}")
    return breaches


def is_banned(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(BANNED_PAIR.search(name)) or any(BANNED_WORDS.fullmatch(word.lower()) for word in words)


def name_breaches(paths: Sequence[Path], sources: dict[str, str]) -> list[str]:
    """List each file, folder, public class and public function whose name says nothing."""
    breaches = [f"{path}: {part}" for path in paths for part in path.parts if is_banned(part)]
    for module, source in sources.items():
        breaches += [
            f"{module}: {node.name}"
            for node in ast.walk(parsed(source))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and node.name not in DICTATED
            and is_banned(node.name)
        ]
    return breaches


def too_long(sources: dict[str, str]) -> list[str]:
    lengths = {name: source.count("\n") for name, source in sources.items()}
    return [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > LONGEST_FILE]


def front_door(source: str) -> list[str]:
    """Give the names of `__all__` in a module's source."""
    for node in parsed(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                return [str(name) for name in ast.literal_eval(node.value)]
    return []


def unwelcome(name: str, text: str) -> list[str]:
    """List the places of a text that name a machine's paths or a package registry."""
    return [
        f"{name}:{number}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in UNWELCOME
        if (found := pattern.search(line))
    ]


def kept_files() -> list[Path]:
    """Give what version control keeps or would keep, or skip where it is not there to ask."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    asked = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in answer.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def python_files() -> dict[str, str]:
    folders = (ROOT / name for name in ("src", "tests", "benchmarks"))
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}


def test_imports_point_down() -> None:
    assert floor_breaches(modules()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("klinehub.panel.ring", "from klinehub.hub import Hub"),
        ("klinehub.panel.ring", "import klinehub.scan.screen"),
        ("klinehub.feed.rest", "from klinehub.dialect import errors"),
        ("klinehub.feed.rest", "from klinehub import dialect"),
        ("klinehub.feed.rest", "from ..scan import screen"),
        ("klinehub.hub", "from klinehub.evidence.replay import replay"),
        ("klinehub.scan.screen", "from klinehub import Hub"),
        ("klinehub.scan.screen", "import klinehub"),
        ("klinehub.scan.screen", "def late():\n    from klinehub.app import cli"),
        ("klinehub.errors", "from klinehub.domain.kline import ROW"),
        ("klinehub.cellar.wine", "import numpy"),
        ("klinehub.hub", "from klinehub.cellar import wine"),
    ],
)
def test_an_import_that_does_not_point_down_is_caught(module: str, source: str) -> None:
    assert len(floor_breaches({module: source})) == 1


def test_imports_that_point_down_or_stay_in_the_room_are_fine() -> None:
    source = "import numpy\nfrom klinehub.errors import Banned\nfrom klinehub.panel import memory\n"

    assert floor_breaches({"klinehub.panel.ring": source, "klinehub.__init__": source}) == []


def test_no_import_is_circular() -> None:
    assert import_circle(modules()) == []


def test_a_circle_of_imports_is_caught() -> None:
    sources = {
        "klinehub.panel.__init__": "",
        "klinehub.panel.a": "from klinehub.panel.b import x",
        "klinehub.panel.b": "def late():\n    from klinehub.panel import a",
    }

    assert set(import_circle(sources)) == {"klinehub.panel.a", "klinehub.panel.b"}


def test_an_import_for_types_only_makes_no_circle() -> None:
    sources = {
        "klinehub.panel.a": "from klinehub.panel.b import x",
        "klinehub.panel.b": "if TYPE_CHECKING:\n    from klinehub.panel.a import y",
    }

    assert import_circle(sources) == []


def test_time_and_chance_come_from_arguments() -> None:
    assert chance_breaches(modules()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nnow = t.monotonic",
        "from time import perf_counter_ns as tick\ntick()",
        "import time\ndef f():\n    time.sleep(1)",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import random\nrandom.Random(1)",
        "from random import choice\nchoice('ab')",
        "import numpy as np\nnp.random.rand(3)",
        "import numpy as np\nnp.random.default_rng()",
        "import numpy as np\nmake = np.random.default_rng",
        "from numpy.random import default_rng\ndefault_rng()",
        "from numpy import random\nrandom.SeedSequence()",
        "import uuid\nuuid.uuid4()",
        "import os\nos.urandom(8)",
        "import secrets\nsecrets.token_hex()",
    ],
)
def test_a_clock_or_a_dice_below_the_bench_is_caught(source: str) -> None:
    assert len(chance_breaches({"klinehub.sim.market": source})) == 1
    assert chance_breaches({"klinehub.bench.ingest": source}) == []


def test_seeded_generators_and_times_that_are_data_are_fine() -> None:
    source = (
        "import numpy as np\nfrom datetime import datetime, UTC\n"
        "def f(rng: np.random.Generator, time: int) -> None:\n"
        "    np.random.default_rng(7); np.random.Generator(np.random.PCG64(seed=1))\n"
        "    datetime.fromtimestamp(time, UTC); self.time.time()\n"
    )

    assert chance_breaches({"klinehub.sim.market": source}) == []


def test_names_say_what_things_are() -> None:
    paths = [path.relative_to(ROOT) for path in kept_files()]

    assert name_breaches(paths, modules()) == []


@pytest.mark.parametrize(
    "source",
    [
        "class CacheManager: ...",
        "class HTTPHandler: ...",
        "def kline_helpers(): ...",
        "async def util(): ...",
        "class A:\n    def batch_processor(self): ...",
        "def data_provider(): ...",
        "class DataProvider: ...",
    ],
)
def test_a_name_that_says_nothing_is_caught(source: str) -> None:
    assert len(name_breaches([], {"klinehub.hub": source})) == 1


def test_a_file_or_folder_name_that_says_nothing_is_caught() -> None:
    paths = [Path("src/klinehub/utils/x.py"), Path("tests/test_socket_handler.py"), Path("src/helpful.py")]

    assert len(name_breaches(paths, {})) == 2


def test_names_that_only_sound_like_it_or_are_not_ours_are_fine() -> None:
    source = (
        "def manage(): ...\ndef utilisation(): ...\ndef _helper(): ...\ndef call_exception_handler(): ..."
    )

    assert name_breaches([], {"klinehub.sim.loop": source}) == []


def test_files_stay_short() -> None:
    assert too_long(python_files()) == []


def test_a_long_file_is_caught() -> None:
    assert too_long({"a.py": "\n" * 500, "b.py": "\n" * 501}) == ["b.py: 501 lines"]


def test_the_front_door_is_small() -> None:
    assert len(front_door(modules().get("klinehub.__init__", ""))) <= WIDEST_DOOR


def test_the_names_of_the_front_door_are_counted() -> None:
    assert len(front_door("__all__ = ['a', 'b']")) == 2
    assert len(front_door("__all__: Final = ('a', 'b', 'c')")) == 3


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in kept_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += unwelcome(str(path.relative_to(ROOT)), text)

    assert found == []


@pytest.mark.parametrize(
    "pieces",
    [
        ("see /", "work/main/x"),
        ("cd /", "root/.cache"),
        ("/", "home/someone/kh"),
        ("--find-links /", "opt/wheels"),
        ("--index-url https://py", "pi.org/simple"),
        ("https://files.python", "hosted.org/packages"),
    ],
)
def test_a_machine_or_a_registry_in_a_text_is_caught(pieces: tuple[str, str]) -> None:
    assert len(unwelcome("README.md", "fine\n" + "".join(pieces))) == 1
