"""PostgreSQL as a store: who is let in, what is said where nobody is, and sessions that are cut."""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.postgres import OWNER, Server, free_port
from tests.unit.store.series import plain, same

import klinehub as kh
from klinehub.app.library import system_store
from klinehub.domain.kline import CLOSED, Scale
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.errors import DefinitionError, StoreError
from klinehub.settings import HubSettings
from klinehub.store import postgres_session
from klinehub.store.base import Change
from klinehub.store.hot import HotStore, Slice
from klinehub.store.joining import words_of
from klinehub.store.postgres import PostgresTables
from klinehub.store.sealing import Sealing
from klinehub.store.slices import Lines

MARKET: Final = "binance-usdm"
HOST: Final = "fapi.test"
SCHEMA: Final = "klinehub_binance_usdm"
SECRET: Final = "s3cret-x"
ALL: Final = (0, 2**63 - 1)


def opened(url: str, **options: Any) -> PostgresTables:
    return PostgresTables(url, **{"market": MARKET, "origin": HOST, **options})


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url(postgres.database())


@pytest.fixture
def tables(url: str) -> Iterator[PostgresTables]:
    made = opened(url)
    yield made
    made.close()


@pytest.fixture
def guest(postgres: Server) -> Iterator[tuple[str, str]]:
    """A database, and the address at which a user with a password and no rights reaches it."""
    name = postgres.database()
    postgres.ask(name, f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
    yield name, postgres.tcp_url(name, "guest", SECRET)
    postgres.ask(name, "DROP OWNED BY guest")
    postgres.ask("postgres", f"REVOKE ALL ON DATABASE {name} FROM guest")
    postgres.ask("postgres", "DROP ROLE guest")


def cut(url: str) -> None:
    """End every other session of a database, as an administrator may."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def refusal(url: str, kind: type[Exception] = StoreError) -> str:
    with pytest.raises(kind) as caught:
        opened(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_the_path_of_a_store_may_be_an_address(url: str) -> None:
    settings = HubSettings(store=url, rest_url="https://fapi.test")
    stores = system_store(settings)
    assert stores is not None
    number = stores.hot.number("BTCUSDT", Scale(2, 3, 5))
    stores.hot.commit([])
    stores.hot.tables.close()

    again = system_store(settings)
    assert again is not None
    assert (again.hot.names, again.history, number) == (("BTCUSDT",), None, 0)
    assert again.hot.where.endswith(f"({SCHEMA})")
    again.hot.tables.close()


def test_days_that_are_over_move_to_the_place_that_is_named(url: str, tmp_path: Path) -> None:
    settings = HubSettings(store=url, rest_url="https://fapi.test", history_path=str(tmp_path))
    stores = system_store(settings)
    assert stores is not None
    assert stores.history is not None
    assert stores.history.files.root == tmp_path / "binance-usdm" / "history"
    hour, scale = timeframe("1h"), Scale(2, 3, 5)
    bars = plain(hour, 489_000 // 24 * 24, 24, 1, scale)
    number = np.array([stores.hot.number("BTCUSDT", scale)])
    stores.hot.commit(
        [
            Slice(hour, hour.index(int(word[0])), Lines(number, np.array([CLOSED]), word[None]))
            for word in words_of(bars)
        ]
    )
    work = Sealing(stores, lambda _: DAY)
    while work.step(int(bars.rows["open_time"][-1]) + 5 * DAY):
        pass

    assert stores.hot.range(hour).slices == 0
    stores.hot.tables.close()
    assert same(kh.open(url, "binance-usdm", history=str(tmp_path)).exact("1h")["BTCUSDT"], bars)


def test_markets_stand_beside_each_other(url: str, tables: PostgresTables) -> None:
    spot = opened(url, market="binance-spot", origin="api.test")
    spot.commit(Change(slices=((1, b"spot"),)))
    tables.commit(Change(slices=((1, b"usdm"),)))

    assert (list(spot.scan(*ALL)), list(tables.scan(*ALL))) == ([(1, b"spot")], [(1, b"usdm")])
    spot.close()


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(DefinitionError, match=r"pip install 'klinehub\[postgres\]'"):
        opened("postgresql://localhost/x")


@pytest.mark.parametrize(
    "tail", [f":{SECRET}%zz@localhost/x", f":{SECRET}@localhost/x?colour=red", f":{SECRET}@[::1/x"]
)
def test_an_address_that_can_not_be_read_is_refused_without_its_password(tail: str) -> None:
    said = refusal(f"postgresql://me{tail}", DefinitionError)

    assert "`store.path` is no address" in said
    assert SECRET not in said


def test_a_server_that_is_not_there_says_so() -> None:
    said = refusal(f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/x")

    assert said.startswith("postgresql://me@127.0.0.1:")
    assert "refused" in said
    assert "check that the server runs" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("user", "password", "name", "hint"),
    [
        ("guest", "wrong", None, r"password authentication failed.*PGPASSWORD or ~/\.pgpass"),
        ("guest", "", None, r"no password supplied.*PGPASSWORD or ~/\.pgpass"),
        ("nobody", SECRET, None, r"password authentication failed"),
        ("guest", SECRET, "nowhere", r'database "nowhere" does not exist.*the database in `store\.path`'),
    ],
)
def test_who_is_not_let_in_is_told_why(
    postgres: Server, guest: tuple[str, str], user: str, password: str, name: str | None, hint: str
) -> None:
    import re

    said = refusal(postgres.tcp_url(name or guest[0], user, password))

    assert re.search(hint, said)


def test_without_rights_the_grant_is_named_and_works(postgres: Server, guest: tuple[str, str]) -> None:
    name, url = guest
    said = refusal(url)
    assert f"GRANT CREATE ON DATABASE {name} TO guest, or let guest own the schema {SCHEMA}" in said

    postgres.ask(name, f"GRANT CREATE ON DATABASE {name} TO guest")
    opened(url).close()


def test_a_schema_that_an_administrator_made_needs_no_right_on_the_database(
    postgres: Server, guest: tuple[str, str]
) -> None:
    name, url = guest
    postgres.ask(name, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION guest")

    made = opened(url)
    made.commit(Change(slices=((1, b"x"),)))
    made.close()


def test_too_old_a_server_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_session, "LEAST_VERSION", 99)

    assert "klinehub needs 99 or newer" in refusal(url)


def test_a_database_without_all_letters_is_refused(postgres: Server) -> None:
    postgres.ask("postgres", "CREATE DATABASE plain TEMPLATE template0 ENCODING 'SQL_ASCII'")

    assert "ENCODING 'UTF8'" in refusal(postgres.url("plain"))


def test_a_server_that_forgets_is_refused(postgres: Server, url: str) -> None:
    postgres.stop()
    postgres.start("-cfsync=off")
    said = refusal(url)
    postgres.stop()
    postgres.start()

    assert "fsync = off" in said
    opened(url).close()


def test_a_commit_is_flushed_whatever_the_role_says(postgres: Server, url: str) -> None:
    postgres.ask("postgres", f"ALTER ROLE {OWNER} SET synchronous_commit = off")
    made = opened(url)
    with made.session("read") as db:
        told = db.execute("SHOW synchronous_commit").fetchone()
    made.close()
    postgres.ask("postgres", f"ALTER ROLE {OWNER} RESET synchronous_commit")

    assert told == ("on",)


def test_a_writer_of_another_user_is_told_too(postgres: Server, guest: tuple[str, str]) -> None:
    name, url = guest
    postgres.ask(name, f"GRANT CREATE ON DATABASE {name} TO guest")
    holder = opened(postgres.url(name))

    assert "is in use by klinehub binance-usdm, process" in refusal(url)
    holder.close()


def test_a_writer_that_goes_makes_room_for_the_one_that_waits(url: str) -> None:
    first = opened(url)
    leaving = threading.Timer(0.3, first.close)
    leaving.start()

    opened(url).close()
    leaving.join()


def test_a_reader_stands_beside_the_writer_and_writes_nothing(url: str, tables: PostgresTables) -> None:
    reader = opened(url, writing=False)
    tables.commit(Change(slices=((1, b"x"),), records=("r",)))

    assert (list(reader.scan(*ALL)), reader.records(9)) == ([(1, b"x")], ["r"])
    with pytest.raises(StoreError, match="opened to be read"):
        reader.commit(Change())
    reader.close()


def test_a_reader_makes_nothing(url: str) -> None:
    with pytest.raises(StoreError, match=r"holds nothing: start a hub"):
        opened(url, writing=False)


def test_a_cut_session_fails_one_commit_and_the_next_opens_another(url: str, tables: PostgresTables) -> None:
    tables.commit(Change(slices=((1, b"one"),), records=("r1",)))
    cut(url)
    with pytest.raises(StoreError, match=r"can not be written \(.*connection"):
        tables.commit(Change(slices=((2, b"two"),), records=("r2",)))
    tables.commit(Change(slices=((2, b"two"),), records=("r2",)))

    assert list(tables.scan(*ALL)) == [(1, b"one"), (2, b"two")]
    assert tables.records(9) == ["r1", "r2"]
    cut(url)
    with pytest.raises(StoreError, match="can not be read"):
        tables.kept()
    assert tables.sealed() == frozenset()


def test_a_commit_that_the_server_had_all_the_same_is_not_there_twice(
    url: str, tables: PostgresTables
) -> None:
    """The answer to a commit is lost: the server has it, and the hub does not know."""
    tables.commit(Change(slices=((1, b"one"),), records=("r1", "r2")))
    tables._commits -= 1
    cut(url)
    with pytest.raises(StoreError):
        tables.kept()
    tables.commit(Change(slices=((1, b"one"),), records=("r1", "r2", "r3")))

    assert tables.records(9) == ["r1", "r2", "r3"]


def test_who_lost_the_lock_to_another_writes_no_more(url: str, tables: PostgresTables) -> None:
    cut(url)
    other = opened(url)
    with pytest.raises(StoreError):
        tables.commit(Change(slices=((1, b"mine"),)))
    with pytest.raises(StoreError, match="is in use by"):
        tables.commit(Change(slices=((1, b"mine"),)))
    other.commit(Change(slices=((1, b"other"),)))
    other.close()
    with pytest.raises(StoreError, match=r"commit 3, ours was 1.*Restart this hub"):
        tables.commit(Change(slices=((1, b"mine"),)))

    reader = opened(url, writing=False)
    assert list(reader.scan(*ALL)) == [(1, b"other")]
    reader.close()


def test_a_server_that_lost_commits_is_not_written_on(
    postgres: Server, url: str, tables: PostgresTables
) -> None:
    """As after a change to a standby that was behind: numbers of the index would name nobody."""
    for number in range(3):
        tables.commit(Change(slices=((number, b"x"),)))
    with tables.session("written") as db:
        db.execute("UPDATE about SET value = '2' WHERE name = 'commits'")
    cut(url)
    for _ in range(2):
        with pytest.raises(StoreError):
            tables.kept()

    with pytest.raises(StoreError, match="the server lost commits"):
        tables.kept()


def test_a_server_that_was_killed_keeps_what_was_acknowledged(
    postgres: Server, url: str, tables: PostgresTables
) -> None:
    tables.commit(Change(slices=((1, b"one"),)))
    postgres.kill()
    with pytest.raises(StoreError):
        tables.commit(Change(slices=((2, b"two"),)))
    with pytest.raises(StoreError, match=r"can not be opened.*check that the server runs"):
        tables.commit(Change(slices=((2, b"two"),)))
    postgres.start()
    assert list(tables.scan(*ALL)) == [(1, b"one")]
    tables.commit(Change(slices=((2, b"two"),)))

    assert list(tables.scan(*ALL)) == [(1, b"one"), (2, b"two")]


def test_a_server_that_is_frozen_is_given_up_and_taken_up_again(
    postgres: Server, url: str, tables: PostgresTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "PATIENCE", 0.3)
    monkeypatch.setitem(postgres_session._LINK, "connect_timeout", 2)
    tables.commit(Change(slices=((1, b"one"),)))
    postgres.freeze()
    try:
        with pytest.raises(StoreError, match="can not be written"):
            tables.commit(Change(slices=((2, b"two"),)))
        with pytest.raises(StoreError, match=r"can not be opened.*timeout"):
            tables.commit(Change(slices=((2, b"two"),)))
    finally:
        postgres.freeze(thaw=True)
    monkeypatch.setattr(postgres_session, "PATIENCE", 30.0)
    tables.commit(Change(slices=((2, b"two"),)))

    assert list(tables.scan(*ALL)) == [(1, b"one"), (2, b"two")]


def test_what_no_database_can_keep_is_an_error_of_the_store(tables: PostgresTables) -> None:
    with pytest.raises(StoreError, match="can not be written"):
        tables.commit(Change(records=("with a \0 in it",)))
    tables.commit(Change(records=("without",)))

    assert tables.records(9) == ["without"]


def test_threads_take_turns(tables: PostgresTables) -> None:
    """A hub commits beside its loop, which may read."""
    failures: list[BaseException] = []

    def write(start: int) -> None:
        try:
            for number in range(start, start + 20):
                tables.commit(Change(slices=((number, b"x"),), records=(str(number),)))
                assert (number, b"x") in list(tables.scan(*ALL))
        except BaseException as exc:  # noqa: BLE001 - told by the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(tables.records(100)) == 60


def test_nothing_names_the_password(
    postgres: Server, guest: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    name, url = guest
    postgres.ask(name, f"GRANT CREATE ON DATABASE {name} TO guest")
    with caplog.at_level(logging.DEBUG):
        made = opened(url)
        cut(postgres.url(name))
        with pytest.raises(StoreError) as caught:
            made.commit(Change())
        made.close()

    assert SECRET not in f"{made.where} {made!r} {caught.value!r} {caplog.text}"
    assert made.where == f"postgresql://guest@127.0.0.1:{postgres.port}/{name} ({SCHEMA})"


def test_a_notebook_reads_beside_the_hub_that_writes(tables: PostgresTables, url: str) -> None:
    store = HotStore(tables)
    bars = plain(timeframe("1h"), 480_000, 3)
    number = np.array([store.number("A", bars.scale)])
    store.commit(
        [
            Slice(timeframe("1h"), 480_000 + at, Lines(number, np.array([CLOSED]), word[None]))
            for at, word in enumerate(words_of(bars))
        ]
    )

    stored = kh.open(url, MARKET)
    assert same(stored.exact("1h")["A"], bars)
    assert stored.newest_missing == ""
    with pytest.raises(DefinitionError, match="market='binance-usdm'"):
        kh.open(url)
    with pytest.raises(StoreError):
        kh.open(url, "binance-spot")
