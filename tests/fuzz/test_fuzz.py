"""The decoders under a small, seeded fuzz; and the fuzz under planted bugs, which it has to find.

`make fuzz` runs ten million inputs of the same kinds.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

import pytest
from tests.fuzz import run
from tests.fuzz.crew import DEATH, HANGS, shared_out
from tests.fuzz.decoders import Decoders, planted, real
from tests.fuzz.jobs import Job, Outcome, Work, inputs_of
from tests.fuzz.mortal import dies_of_an_e, hangs_on_an_e
from tests.fuzz.shapes import CORPUS
from tests.fuzz.targets import TARGETS
from tests.fuzz.work import judged, work

SIZES: Final = {"frames": 9_000, "bodies": 3_000, "numerals": 30_000, "answers": 8_000}
FILES: Final = sorted(CORPUS.glob("*/*"))


@pytest.fixture(scope="module")
def decoders() -> Decoders:
    return real()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("target", TARGETS)
def test_fifty_thousand_inputs_are_read_as_the_oracle_reads_them_or_refused(
    target: str, decoders: Decoders
) -> None:
    outcome = judged(Job(target, 1, 0, 0, SIZES[target]), decoders)

    assert outcome.wrong == []
    assert SIZES[target] / 5 < outcome.accepted < SIZES[target] * 4 / 5


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_input_of_the_corpus(path: Path, decoders: Decoders) -> None:
    assert TARGETS[path.parent.name]([path.read_bytes()], decoders).wrong == []


def test_a_seed_decides_every_input() -> None:
    def digest(job: Job) -> str:
        return hashlib.sha256(b"\n".join(inputs_of(job))).hexdigest()

    for target in TARGETS:
        first = Job(target, 7, 3, 0, 300)
        assert digest(first) == digest(first) != digest(first._replace(seed=8))
        assert digest(first) != digest(first._replace(chunk=4))
        assert inputs_of(first._replace(begin=120, end=130)) == inputs_of(first)[120:130]


# Bugs, each planted where an input of some target has to show it.
PLANTED: Final = {
    "a mantissa one too high": (
        "numerals",
        "numerals",
        "return value, max(decimals, 0)",
        "return value + 1, max(decimals, 0)",
    ),
    "a number that ends with its dot": ("numerals", "numerals", " or decimals == 0:", ":"),
    "a division that is not exact": ("numerals", "numerals", "if value > EXACT:", "if value > 8 * EXACT:"),
    "not a number taken for one": ("numerals", "body", 'r"[+-]?', 'r"NaN|[+-]?'),
    "a float that is the next one": (
        "numerals",
        "body",
        "nearest_one = float(value)",
        "nearest_one = float(str(value)[:17])",
    ),
    "a negative volume taken as positive": ("frames", "body", "if rest or sign or kept", "if rest or kept"),
    "the first of two equal keys": (
        "frames",
        "wire",
        "spans[key + around, 0], spans[key + around, 1] = start, stop",
        "spans[key + around] = (start, stop) if spans[key + around, 0] < 0 else spans[key + around]",
    ),
    "a byte read beyond the frame": (
        "frames",
        "wire",
        "locate(buf, at, end, spans)",
        "locate(buf, at, min(end + 1, buf.size), spans)",
    ),
    "a digit read beyond the numeral": (
        "numerals",
        "numerals",
        "decimals = 0, 0, -1\n    for at in range(start, end)",
        "decimals = 0, 0, -1\n    for at in range(start, min(end + 1, buf.size))",
    ),
    "commas that may be missing": (
        "frames",
        "wire",
        "return at if at < end and buf[at] == _CLOSE else end",
        "return at",
    ),
    "white space behind that is not looked at": (
        "frames",
        "wire",
        "whole = skip(buf, at, end) == end and",
        "whole =",
    ),
    "letters that are none": ("frames", "wire", "return -1 if long or beyond else", "return"),
    "a word for a number": (
        "frames",
        "wire",
        "return at if pack(buf, start, at) in (TRUE, FALSE, NULL) else -1",
        "return at",
    ),
    "open taken for closed": ("frames", "wire", "1 if closed == TRUE else 0", "0 if closed == TRUE else 1"),
    "volumes of too few decimals": (
        "frames",
        "wire",
        "for _ in range(known[kind] -",
        "for _ in range(known[kind] - 1 -",
    ),
    "bars off the grid": ("frames", "wire", "not ordered or not aligned or", "not ordered or"),
    "a price without quotes": ("frames", "wire", "buf[start - 1] != _QUOTE", "False"),
    "brackets without end": ("frames", "slow", ", RecursionError)", ")"),
    "any word for closed": ("frames", "slow", "    x: bool\n", "    x: bool | int | str\n"),
    "rows twice": ("bodies", "body", 'np.diff(rows["open_time"]) > 0', 'np.diff(rows["open_time"]) >= 0'),
    "rows that begin with a zero": ("bodies", "body", "padded = not quoted and", "padded = False and"),
    "a quote that is not closed": ("bodies", "body", "unclosed = quoted and", "unclosed = False and"),
    "volumes and quote volumes swapped": ("bodies", "body", "VOLUME, -1, QUOTE,", "QUOTE, -1, VOLUME,"),
    "names that are no text": (
        "answers",
        "binance",
        "msgspec.DecodeError, UnicodeDecodeError,",
        "msgspec.DecodeError,",
    ),
    "what is margined in coins": ("answers", "marks", "if row.st != COIN_MARGINED", "if True"),
    "funding where there is none": ("answers", "marks", " and funding > 0", ""),
    "prices that are none": (
        "answers",
        "marks",
        "Size = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]",
        "Size = float",
    ),
    "a turnover that is none": (
        "answers",
        "binance",
        "Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]",
        "float",
    ),
}
# Within this many inputs each is found; most within three hundred.
FOUND_WITHIN: Final = 6_000


@pytest.mark.timeout(90)
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    target, module, old, new = PLANTED[bug]
    decoders = planted(tmp_path, {module: (old, new)})
    for chunk in range(FOUND_WITHIN // 150):
        if judged(Job(target, 3, chunk, 0, 150), decoders).wrong:
            return
    pytest.fail(f"{FOUND_WITHIN} inputs have not shown it")


def test_decoders_that_run_uncompiled_are_as_right_as_the_others(tmp_path: Path) -> None:
    decoders = planted(tmp_path, {})
    for target in TARGETS:
        assert judged(Job(target, 4, 0, 0, 300), decoders).wrong == []


def test_a_failing_input_is_cut_down_to_what_fails() -> None:
    assert (
        run.shrunk(b"x" * 700 + b"a" + b"y" * 300 + b"b", lambda data: b"a" in data and b"b" in data) == b"ab"
    )
    assert run.shrunk(b"", lambda data: True) == b""


def test_what_is_found_is_kept_small_and_can_be_replayed(tmp_path: Path) -> None:
    bug = ("return value, max(decimals, 0)", "return value + 1, max(decimals, 0)")
    decoders = planted(tmp_path, {"numerals": bug})
    outcome = judged(Job("numerals", 1, 0, 0, 50), decoders)
    report = run.Report()
    report.add(outcome)
    (found,) = run.keep(report, lambda: decoders, tmp_path / "found")
    document = report.document(1, 0.0, [found])

    (path,) = (tmp_path / "found").iterdir()
    assert len(path.read_bytes()) == 1
    assert run.replayed(path, decoders)
    assert run.replayed(path, real()) == []
    assert str(path) in found["replay"]
    assert document["differences"] == len(outcome.wrong) > 0
    assert (document["inputs"], document["crashes"]) == (50, 0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("task", "hangs", "why"), [(dies_of_an_e, HANGS, "dies"), (hangs_on_an_e, 3.0, "hangs")]
)
def test_the_input_at_which_a_process_ends_or_hangs_is_named(task: Work, hangs: float, why: str) -> None:
    inputs = inputs_of(Job("numerals", 1, 0, 0, 80))
    at = next(n for n, data in enumerate(inputs) if b"E" in data)
    job = Job("numerals", 1, 0, at - 3, at + 2)
    others = job._replace(end=at)

    outcomes: list[Outcome] = list(shared_out([job, others, others], task, 2, hangs))
    wrong = [(inputs[at], f"{DEATH} that {why}")]
    assert sorted(outcome.wrong for outcome in outcomes) == [[], [], wrong]


@pytest.mark.timeout(180)
def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--inputs", "1500", "--seed", "5", "--processes", "2"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["inputs"] == 1_500 == document["accepted"] + document["refused"]
    assert {target: counts["inputs"] for target, counts in document["targets"].items()} == {
        "frames": 675,
        "bodies": 120,
        "numerals": 555,
        "answers": 150,
    }
    assert (document["differences"], document["crashes"], document["found"]) == (0, 0, [])
    alone = sum(work(job).accepted for job in run.jobs(1_500, 5))
    assert document["accepted"] == alone
