"""Rows 9, 14, 15, 17, 18 and 19 of docs/security.md: what the sources do, are made of, and write."""

import ast
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from tests import audit
from tests.unit.test_house import dotted, kept_files, modules, origins, parsed

from klinehub.app import show
from klinehub.errors import FeedError, StoreError
from klinehub.factors import loops
from klinehub.feed.archive import parse_listing
from klinehub.feed.binance import parse_listings
from klinehub.feed.network import RealNetwork, http_session, printable
from klinehub.store import disk, parquet, series

ROOT: Final = Path(__file__).resolve().parents[2]
UNSAFE_MODULES: Final = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "dbm", "yaml", "xml")
UNSAFE_CALLS: Final = frozenset(
    {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "numpy.fromregex", "ctypes.CDLL"}
)
# A factor's loop is written by klinehub itself, of names that were checked, and compiled.
ALLOWED: Final = {("klinehub.factors.loops", "exec"), ("klinehub.factors.loops", "compile")} | {
    # The archive is listed in XML, read without entities; the simulated one writes it.
    ("klinehub.feed.archive", "xml.etree"),
    ("klinehub.sim.archive", "xml.sax.saxutils"),
}
# Rules of the linter that a line of the sources switches off, each with its reason there.
SWITCHED_OFF: Final = {
    ("klinehub.factors.loops", "S102"),
    ("klinehub.feed.archive", "S314"),
    # Tables and columns of our own in a statement; values are always arguments.
    *(("klinehub.store." + name, "S608") for name in ("plain_rows", "postgres", "sqlite")),
}


def unsafe(module: str, source: str) -> Iterator[tuple[str, str]]:
    """Give what a module's source does that could run what it reads."""
    tree = parsed(source)
    known = origins(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            )
            yield from ((module, name) for name in names if name.split(".")[0] in UNSAFE_MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, known) or (node.func.id if isinstance(node.func, ast.Name) else "")
        if name in UNSAFE_CALLS:
            yield module, name
        for keyword in node.keywords:
            off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg in {"allow_pickle", "shell"} and not off:
                yield module, f"{keyword.arg}="
            if keyword.arg in {"ssl", "verify", "verify_ssl", "check_hostname"} and off:
                yield module, f"{keyword.arg}=False"


def test_row_09_nothing_that_is_read_is_run() -> None:
    found = {one for name, source in modules().items() for one in unsafe(name, source)}

    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import xml.etree.ElementTree",
        "eval('1')",
        "exec('x')",
        "__import__('x')",
        "import os\nos.system('ls')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import aiohttp\naiohttp.TCPConnector(ssl=False)",
    ],
)
def test_row_09_what_could_run_it_is_caught(source: str) -> None:
    assert len(list(unsafe("klinehub.x", source))) == 1


def test_row_09_the_linter_looks_for_it_too() -> None:
    # All rules are on; what is switched off in a line of the sources has its reason there.
    off = {
        (name, rule)
        for name, source in modules().items()
        for rule in re.findall(r"noqa: (S[0-9]+)", source)
        # Benchmarks start programs of their own, and simulated markets need numbers that are no secrets.
        if name.split(".")[1] not in {"app", "bench", "sim"}
    }

    assert off == SWITCHED_OFF


def test_row_09_a_listing_unfolds_nothing() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa">' + "".join(
        f'<!ENTITY a{n} "{"&a;" if not n else f"&a{n - 1};" * 50}">' for n in range(12)
    )
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(FeedError, match="no listing"):
            parse_listing(f"{bomb}]><x>&a11;</x>".encode(encoding), "x")


def test_row_09_no_other_users_compiled_code_is_loaded(tmp_path: Path) -> None:
    mine, shared = tmp_path / "mine", tmp_path / "shared"
    mine.mkdir(mode=0o700)
    shared.mkdir()
    shared.chmod(0o777)

    assert loops._is_private(mine)
    assert not loops._is_private(shared)


def test_row_14_certificates_are_verified_and_nothing_falls_back_to_plain() -> None:
    context = RealNetwork()._context()

    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")
    assert context.minimum_version.name == "TLSv1_2"
    sources = "\n".join(modules().values())
    assert not re.search(r"CERT_NONE|_create_unverified_context|check_hostname\s*=\s*False", sources)


def test_row_14_no_request_follows_a_redirect() -> None:
    asks = [
        (name, ast.unparse(node))
        for name, source in modules().items()
        if name.split(".")[1] in {"feed", "alerts", "serve"}
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"get", "post", "put", "delete", "request"}
        and re.search(r"session(\(|$)", ast.unparse(node.func.value))
    ]

    assert asks
    # The local door asks a socket file of this user.
    bare = [name for name, text in asks if "allow_redirects=False" not in text]
    assert [name for name in bare if name != "klinehub.serve.local"] == []


async def test_row_14_a_session_brings_nothing_along() -> None:
    import aiohttp

    async with http_session(aiohttp.TCPConnector(), 1.0) as session:
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
        assert not session.trust_env


@pytest.mark.parametrize("name", audit.LOCKS)
def test_row_15_every_package_is_pinned_with_its_hashes(name: str) -> None:
    packages = audit.locked((ROOT / name).read_text("utf-8"))

    assert len(packages) > 30
    assert all(one.hashes for one in packages)


@pytest.mark.parametrize("line", ["aiohttp>=3", "aiohttp==3.14.5", "-e .", "aiohttp==1 --hash=md5:00"])
def test_row_15_a_lock_without_that_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is no package"):
        audit.locked(line)


def test_row_15_the_image_has_the_versions_that_were_tested() -> None:
    tested, image = ({(one.name, one.version) for one in _locked(name)} for name in audit.LOCKS[:2])

    assert image < tested
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & {name for name, _ in image}


def test_row_15_only_wheels_are_installed_and_only_by_their_hashes() -> None:
    for name in ("Makefile", "CONTRIBUTING.md", "README.md", "deploy/Dockerfile"):
        text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if "pip install" in line and ".lock" in line:
                assert "--require-hashes" in line, name
                assert "--only-binary :all:" in line, name


def _locked(name: str) -> list[audit.Package]:
    return audit.locked((ROOT / name).read_text("utf-8"))


PACKAGES: Final = [audit.Package("a", "1", "", ("00" * 32,)), audit.Package("b-c", "2", "", ("11" * 32,))]
FINE: Final[dict[str, Any]] = {"name": "a", "version": "1", "vulns": []}


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ([FINE, {"name": "B_C", "version": "2", "vulns": []}], []),
        ([FINE], ["b-c 2: not audited"]),
        ([FINE, {"name": "b-c", "skip_reason": "not found"}], ["b-c 2: skipped, not found"]),
        ([FINE, {"name": "b-c", "version": "3", "vulns": []}], ["b-c 2: 3 was audited instead"]),
        ([FINE, {"name": "b-c", "version": "2", "vulns": [{"id": "CVE-1"}]}], ["b-c 2: CVE-1"]),
        ([], ["a 1: not audited", "b-c 2: not audited"]),
    ],
)
def test_row_15_an_audit_is_green_when_every_package_was_answered_for(
    report: list[dict[str, Any]], wrong: list[str]
) -> None:
    assert audit.faults(PACKAGES, {"dependencies": report}) == wrong


def test_row_15_an_audit_without_a_service_is_red(tmp_path: Path) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'no such host' >&2\nexit 1\n")
    program.chmod(0o700)

    report, said = audit.asked(program, PACKAGES, tmp_path)

    assert (report, said) == ({}, "no such host")
    assert len(audit.faults(PACKAGES, report)) == len(PACKAGES)


def test_row_15_what_klinehub_is_made_of_is_listed() -> None:
    document = audit.sbom(_locked("requirements.lock"))

    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert {"aiohttp", "numba", "picows"} <= {one["name"] for one in document["components"]}
    assert all(one["hashes"] and one["purl"].startswith("pkg:pypi/") for one in document["components"])


def test_row_17_folders_of_the_store_are_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        disk.make(tmp_path / "a" / "b")
        with disk.alone(tmp_path / "a"):
            pass
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", f"a/{disk.LOCK}")]
    assert modes == [0o700, 0o700, 0o600]


def test_row_17_no_link_leads_what_is_written_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / ".x.unfinished").symlink_to(victim)
    (folder / "x").symlink_to(victim)

    disk.put(folder / "x", b"new")

    assert (victim.read_bytes(), (folder / "x").read_bytes()) == (b"precious", b"new")
    assert not (folder / "x").is_symlink()
    (folder / disk.LOCK).symlink_to(victim)
    with pytest.raises(StoreError, match="can not be written"), disk.alone(folder):
        pass


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
def test_row_17_a_symbol_is_no_path(symbol: str) -> None:
    for name in (parquet._quoted(symbol), series._file(symbol)):
        assert not re.search(r"[/\\\0]", name)
        assert name not in {".", ".."}
    assert unquote(parquet._quoted(symbol)) == symbol


def test_row_18_the_readme_says_which_package_is_the_real_one() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    section = text[text.index("## Is it the real one?") :]

    assert "called `klinehub`" in section
    assert "SHA256SUMS" in section
    assert "--require-hashes" in section


ODD: Final = ("A\nB", "A\x1b[2JB", "A\rB", "A\tB", "A\x00B", "A\u202eB", "A\u200bB", "A\x9bB", "A\u2028B")


def listing(**changed: str) -> bytes:
    one = {"symbol": "AUSDT", "status": "TRADING", "baseAsset": "A", "quoteAsset": "USDT", "pair": "AUSDT"}
    return json.dumps({"symbols": [one, {**one, "symbol": "BUSDT", **changed}]}).encode()


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", ["symbol", "pair", "status", "baseAsset", "quoteAsset", "contractType"])
def test_row_19_what_cannot_be_printed_is_not_listed(field: str, odd: str) -> None:
    assert [one.symbol for one in parse_listings(listing(**{field: odd}))] == ["AUSDT"]


@pytest.mark.parametrize(
    "name", ["币安人生USDT", "1000PEPEUSDT", "BTCUSDT_261225", "<img src=x>USDT", "[/b]USDT"]
)
def test_row_19_other_names_are(name: str) -> None:
    assert [one.symbol for one in parse_listings(listing(symbol=name))] == ["AUSDT", name]


@pytest.mark.parametrize("odd", ODD)
def test_row_19_what_the_exchange_says_is_one_line(odd: str) -> None:
    assert printable(odd) == f"A?{odd[2:]}"
    assert printable(odd).isprintable()


@pytest.mark.parametrize("console", [show.out, show.err])
def test_row_19_a_name_is_no_markup(console: Console) -> None:
    table = Table("symbol")
    table.add_row("[/b]USDT")
    table.add_row("[link=http://evil.example]BTCUSDT[/link]")
    plain = Console(width=80, file=io.StringIO(), markup=console._markup)

    plain.print(table)

    assert not console._markup
    shown = plain.file.getvalue()  # type: ignore[attr-defined]
    assert "[/b]USDT" in shown
    assert "[link=http://evil.example]BTCUSDT[/link]" in shown


def test_row_08_no_secret_is_kept_in_version_control() -> None:
    names = [str(path.relative_to(ROOT)) for path in kept_files()]

    assert not [name for name in names if re.search(r"\.pem$|\.key$|(^|/)\.env|private/", name)]
