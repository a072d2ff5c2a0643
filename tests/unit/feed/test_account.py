"""The account that all hubs of a machine share: what one spends or meets with all know, and the next run."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klinehub.domain.clock import Clock
from klinehub.errors import Banned, Blocked
from klinehub.feed import account as account_module
from klinehub.feed.account import HEAD, HOSTS, MINUTE, RECORD, SIZE, Account, Busy, Record
from klinehub.feed.budget import BAN_MARGIN, GUARD, WeightGate
from klinehub.sim.loop import SimLoop, run

HOST = "127.0.0.1:8080"
START = 29_000_000 * MINUTE
NOW = START + 10_000
fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "klinehub" / "account"


def spent(account: Account, weight: int, *, now: int = NOW, cap: int | None = 80) -> bool:
    outcome = account.spend(HOST, now, weight, cap)
    assert outcome is not None, account.fault
    return outcome[0]


def used(account: Account, now: int = NOW, host: str = HOST) -> int:
    record = account.read(host)
    assert record is not None, account.fault
    return record.slot(now // MINUTE).used


def gate_on(loop: SimLoop, path: Path, *, at: int = NOW, limit: int = 100) -> WeightGate:
    return WeightGate(Clock(at, 1.0, loop.time), limit=limit, share=0.8, account=Account(path), host=HOST)


def test_two_accounts_of_one_file_spend_from_one_minute(path: Path) -> None:
    one, other = Account(path), Account(path)

    assert spent(one, 50)
    assert spent(other, 30)
    assert not spent(one, 1)
    assert spent(one, 80, cap=None)
    assert (used(one), used(other)) == (160, 160)
    assert used(one, host="other:443") == 0


def test_a_minute_begins_with_what_is_on_its_way(path: Path) -> None:
    account = Account(path)
    spent(account, 50)
    spent(account, 20)
    account.landed(HOST, NOW, 50)

    assert used(account, NOW + MINUTE) == 20
    assert not spent(account, 61, now=NOW + MINUTE)
    assert used(account, NOW + 2 * MINUTE) == 0


def test_what_a_dead_process_left_on_its_way_is_forgotten_after_a_minute(path: Path) -> None:
    spent(Account(path), 80)

    assert not spent(Account(path), 1, now=NOW + MINUTE)
    assert spent(Account(path), 80, now=NOW + 2 * MINUTE)


def test_a_refund_and_a_higher_count_of_the_exchange_are_followed(path: Path) -> None:
    account = Account(path)
    spent(account, 50)
    account.refund(HOST, NOW, 20)
    assert used(account) == 30

    account.seen(HOST, NOW, 70)
    account.seen(HOST, NOW, 40)

    assert used(account) == 70
    assert used(account, NOW + MINUTE) == 30


def test_clocks_that_differ_mix_no_minutes_up(path: Path) -> None:
    account = Account(path)
    spent(account, 80, now=NOW + 3 * 60 * MINUTE)
    assert spent(account, 60)
    assert spent(account, 80, now=NOW + MINUTE, cap=200)

    assert used(account) == 60


def test_a_ban_survives_the_process_and_never_gets_shorter(path: Path) -> None:
    Account(path).ban(HOST, NOW + 5_000)
    Account(path).ban(HOST, NOW + 2_000)

    assert not spent(Account(path), 1, now=NOW + 4_999)
    assert spent(Account(path), 1, now=NOW + 5_000)


def test_a_ban_of_years_was_told_by_a_wrong_clock(path: Path) -> None:
    Account(path).ban(HOST, NOW + 400 * 24 * 60 * MINUTE)

    assert spent(Account(path), 1)


def test_file_and_folder_are_the_users_own(path: Path) -> None:
    spent(Account(path), 1)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_size == SIZE


def test_a_file_that_others_may_read_is_made_private(path: Path) -> None:
    spent(Account(path), 1)
    path.chmod(0o666)
    spent(Account(path), 1)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"short", b"x" * SIZE, b"y" * (SIZE + 1), HEAD, bytes(SIZE), HEAD + bytes(SIZE)]
)
def test_a_file_that_is_no_account_is_set_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    assert spent(Account(path), 7)
    assert used(Account(path)) == 7
    assert path.with_name("account.damaged").read_bytes() == content


def test_a_record_that_does_not_add_up_is_empty_and_spares_the_others(path: Path) -> None:
    account = Account(path)
    spent(account, 7)
    account.ban("other:443", NOW + 5_000)
    data = bytearray(path.read_bytes())
    data[len(HEAD) + 90] ^= 1
    path.write_bytes(data)

    assert used(Account(path)) == 0
    assert spent(Account(path), 80)
    record = Account(path).read("other:443")
    assert record is not None
    assert record.banned_until == NOW + 5_000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2 * RECORD), st.integers(0, SIZE), st.integers(0, SIZE))
def test_no_damage_stops_a_hub(path: Path, junk: bytes, at: int, end: int) -> None:
    account = Account(path)
    spent(account, 1, cap=None)
    data = path.read_bytes()
    path.write_bytes((data[:at] + junk + data[at + len(junk) :])[: max(end, 1)])

    for one in (account, Account(path)):
        one.ban(HOST, NOW)
        assert one.spend(HOST, NOW, 1, None) is not None
        assert one.fault == ""


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.rename(path.with_name("elsewhere"))])
def test_a_file_that_is_taken_away_is_begun_anew_by_all(path: Path, lose: object) -> None:
    one, other = Account(path), Account(path)
    spent(one, 30)
    spent(other, 30)
    assert callable(lose)
    lose(path)

    assert spent(one, 50)
    assert not spent(other, 31)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"")
    path.parent.mkdir()
    path.symlink_to(target)
    account = Account(path)

    assert account.spend(HOST, NOW, 1, 80) is None
    assert "can not be used" in account.fault
    assert target.read_bytes() == b""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_left_alone(path: Path, make: object) -> None:
    path.parent.mkdir()
    assert callable(make)
    make(path)

    assert Account(path).spend(HOST, NOW, 1, 80) is None


def test_a_full_disk_leaves_no_half_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:100], at))
    account = Account(path)

    assert account.spend(HOST, NOW, 1, 80) is None
    assert "No space left" in account.fault
    monkeypatch.undo()
    assert spent(account, 1)
    assert account.fault == ""
    assert not path.with_name("account.damaged").exists()


def test_a_gate_whose_account_can_not_be_written_works_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    async def main(loop: SimLoop) -> tuple[list[int], str]:
        account = Account(path)
        gate = WeightGate(Clock(NOW, 1.0, loop.time), limit=100, share=0.8, account=account, host=HOST)
        monkeypatch.setattr(os, "pwrite", broken)
        gate.offset = 1
        asked = [await gate.take(60)]
        gate.landed(60, asked=asked[0])
        asked.append(await gate.take(60))
        gate.seen(70, asked[1])
        gate.blocked(403)
        gate.banned(NOW + 5 * MINUTE)
        return asked, account.fault

    asked, fault = run(main)

    assert asked[0] == NOW + 1
    assert asked[1] > START + MINUTE
    assert "Read-only file system" in fault


def test_without_locks_every_hub_counts_for_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "fcntl", None)
    account = Account(path)

    assert account.spend(HOST, NOW, 1, 80) is None
    assert "no locks" in account.fault
    assert not path.exists()


def test_a_lock_that_is_held_is_waited_for_and_given_up_on(path: Path) -> None:
    account = Account(path)
    spent(account, 1)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            account.spend(HOST, NOW, 1, 80)
        account.landed(HOST, NOW, 1)
        for _ in range(account_module.MOST_BUSY):
            with suppress(Busy):
                account.spend(HOST, NOW, 1, 80)
        assert account.spend(HOST, NOW, 1, 80) is None
        assert "does not let go" in account.fault
    assert spent(account, 1)
    assert account.fault == ""


def test_the_oldest_host_makes_room_for_a_new_one_and_a_ban_is_kept(path: Path) -> None:
    account = Account(path)
    account.ban("banned:1", NOW + 10 * MINUTE)
    for number in range(2 * HOSTS):
        account.spend(f"{'x' * 100}{number}:1", NOW + number, 1, None)

    assert path.stat().st_size == SIZE
    assert used(account, host=f"{'x' * 100}{2 * HOSTS - 1}:1") == 1
    record = account.read("banned:1")
    assert record is not None
    assert record.banned_until == NOW + 10 * MINUTE
    account.close()
    assert used(account, host=f"{'x' * 100}{2 * HOSTS - 1}:1") == 1


@given(st.integers(0, 2**40), st.integers(0, 1_000), st.integers(0, 1_000))
def test_a_record_comes_back_as_it_was(time: int, weight: int, flying: int) -> None:
    slot = Record(b"a").slot(time // MINUTE)._replace(used=weight, flying=flying)
    record = Record(b"host:1", time, -time, time, time, 451).counted(slot)

    assert account_module._unpacked(account_module._packed(record)) == record


def test_a_new_gate_is_banned_from_the_first_moment_until_the_end(path: Path) -> None:
    until = NOW + 90_000

    async def first(loop: SimLoop) -> None:
        gate = gate_on(loop, path, at=NOW + 500_000)
        gate.offset = -500_000
        gate.banned(until)

    async def second(loop: SimLoop) -> tuple[int, int]:
        gate = gate_on(loop, path, at=NOW + 500_000)
        assert gate.closed(gate.now()).startswith("banned until ")
        with pytest.raises(Banned) as refused:
            await gate.take(1)
        await asyncio.sleep(91.001)
        return refused.value.until, await gate.take(1)

    run(first)
    told, asked = run(second)

    assert told == until + BAN_MARGIN
    assert asked == NOW + 91_001


def test_a_ban_that_another_hub_meets_fails_those_who_wait_for_the_next_minute(path: Path) -> None:
    async def main(loop: SimLoop) -> tuple[list[object], int]:
        one, other = gate_on(loop, path), gate_on(loop, path)
        one.landed(80, asked=await one.take(80))
        waiting = [asyncio.create_task(gate.take(1)) for gate in (one, other, other)]
        await asyncio.sleep(1)
        one.banned(NOW + 5 * MINUTE)
        failures: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        return failures, other.calls

    failures, calls = run(main)

    assert [type(failure) for failure in failures] == [Banned] * 3
    assert calls == 0


def test_a_block_is_remembered_over_restarts_and_lifted_by_an_answer(path: Path) -> None:
    async def first(loop: SimLoop) -> None:
        gate_on(loop, path).blocked(451)

    async def second(loop: SimLoop) -> None:
        gate = gate_on(loop, path)
        with pytest.raises(Blocked, match=r"blocked \(451\) until"):
            await gate.take(1)
        await asyncio.sleep(300)
        await gate.take(1)
        assert "a probe is on its way" in gate.closed(gate.now())
        gate.answered()
        gate.landed(1)

    async def third(loop: SimLoop) -> None:
        assert gate_on(loop, path).closed(NOW) == ""

    run(first)
    run(second)
    run(third)


def test_gates_that_share_an_account_share_the_minute(path: Path) -> None:
    async def main(loop: SimLoop) -> tuple[list[int], list[int]]:
        gates = [gate_on(loop, path) for _ in range(3)]

        async def take(gate: WeightGate) -> int:
            asked = await gate.take(20)
            gate.landed(20, asked=asked)
            return asked

        asked = await asyncio.gather(*(take(gates[number % 3]) for number in range(12)))
        return sorted(asked), [gate.used for gate in gates]

    asked, counts = run(main)

    first, second = START + MINUTE + GUARD, START + 2 * MINUTE + GUARD
    assert asked == [NOW] * 4 + [first] * 4 + [second] * 4
    assert counts == [80, 80, 80]


HAMMER = """
import asyncio, sys, time
from pathlib import Path
from klinehub.domain.clock import Clock
from klinehub.feed.account import Account
from klinehub.feed.budget import WeightGate

async def main():
    clock = Clock(int(sys.argv[2]), 600.0, time.monotonic)
    account = Account(Path(sys.argv[1]))
    gate = WeightGate(clock, limit=1000, share=0.8, account=account, host="h:1")
    async def one():
        asked = await gate.take(2)
        gate.landed(2, asked=asked)
        return asked
    asked = [n for _ in range(4) for n in await asyncio.gather(*(one() for _ in range(300)))]
    print(*asked, sep="\\n")
    assert account.fault == "", account.fault

input()
asyncio.run(main())
"""


def test_two_processes_together_stay_below_the_cap(path: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(path), str(NOW)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    outputs = [one.communicate(timeout=25)[0] for one in both]

    assert [one.returncode for one in both] == [0, 0]
    minutes = [int(time) // MINUTE for output in outputs for time in output.split()]
    assert len(minutes) == 2_400
    weights = {minute: 2 * minutes.count(minute) for minute in set(minutes)}
    assert max(weights.values()) <= 800
    assert sum(weight > 700 for weight in weights.values()) >= 3
