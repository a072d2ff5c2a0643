"""History in an object store: what refuses is told apart, nothing is lost, others read the same objects."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tests.objects import KEY, Server
from tests.unit.store.series import plain, same

import klinehub as kh
from klinehub.domain.kline import CLOSED
from klinehub.domain.timeframe import DAY, timeframe
from klinehub.errors import DefinitionError, StoreError, UnknownName
from klinehub.store import objects, sealing
from klinehub.store.files import Away, Folder
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore, Slice
from klinehub.store.joining import FOREVER, words_of
from klinehub.store.objects import files_at
from klinehub.store.sealing import SETTLED, Sealing, Stores
from klinehub.store.slices import Lines
from klinehub.store.sqlite import SqliteTables

HOUR: Final = timeframe("1h")
# 2026-01-30 00:00.
START: Final = 1_769_731_200_000
BARS: Final = {"BTCUSDT": plain(HOUR, START // 3_600_000, 72)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a server within a second or two."""
    for name, value in {"CONNECT": 1.0, "SILENCE": 1.0, "ATTEMPTS": 1}.items():
        monkeypatch.setattr(objects, name, value)


def history(s3: Server, bucket: str = Server.bucket) -> HistoryStore:
    return HistoryStore(files_at(s3.url("data", bucket), "binance-usdm", "history"))


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA123:hunter2@bucket/prefix",
        "s3://AKIA123@bucket/prefix",
        "s3://bucket/prefix?secret_key=hunter2",
        "gs://me:hunter2@bucket",
        "abfs://:hunter2@account.blob.core.windows.net/box",
        "sftp://me:hunter2@host/folder",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(DefinitionError, match="AWS_PROFILE") as caught:
        files_at(address)
    assert "hunter2" not in str(caught.value)
    assert "AKIA123" not in str(caught.value)


def test_an_address_that_is_none_says_what_would_be_one() -> None:
    with pytest.raises(UnknownName, match="region"):
        files_at("s3://bucket/prefix?regoin=eu-west-1")
    with pytest.raises(DefinitionError, match="write it like s3://bucket/prefix"):
        files_at("s3:///prefix")
    for address, told in (("nowhere://a/b", "nor fsspec knows nowhere://"), ("sftp://host/b", "pip install")):
        with pytest.raises(DefinitionError, match=told):
            HistoryStore(files_at(address)).read(HOUR, None, 0, FOREVER)


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    files = files_at(f"file://{tmp_path}/a%20b", "history")

    assert isinstance(files, Folder)
    assert files.root == tmp_path / "a b" / "history"
    assert files_at("~/data").root == Path.home() / "data"


def test_nothing_is_asked_before_something_is_read() -> None:
    made = HistoryStore(
        files_at("s3://bucket/prefix?endpoint_override=127.0.0.1:9&scheme=http", "m", "history")
    )

    assert made.files.where == "s3://bucket/prefix/m/history"


def test_a_bucket_that_is_not_there_is_named(s3: Server) -> None:
    nowhere = history(s3, "elsewhere")

    for act in (lambda: nowhere.read(HOUR, None, 0, FOREVER), lambda: nowhere.timeframes):
        with pytest.raises(StoreError, match="There is no bucket 'elsewhere'"):
            act()
    with pytest.raises(StoreError, match="There is no bucket 'elsewhere': make it"):
        nowhere.write(HOUR, BARS)
    assert history(s3).timeframes == ()


def test_who_is_not_let_in_is_told_to_look_at_the_credentials(s3: Server) -> None:
    store = history(s3)
    store.write(HOUR, BARS)
    s3.lock()

    for act in (lambda: store.timeframes, lambda: store.write(HOUR, BARS), lambda: history(s3).verify()):
        with pytest.raises(StoreError, match=r"does not let us in .* check the credentials") as caught:
            act()
        assert not isinstance(caught.value, Away)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_away_is_told_as_that_and_nothing_is_lost(s3: Server) -> None:
    store = history(s3)
    store.write(HOUR, BARS)
    s3.freeze()
    for act in (lambda: store.timeframes, lambda: store.write(HOUR, BARS), lambda: history(s3).verify()):
        with pytest.raises(Away, match="is not reached"):
            act()
    s3.freeze(thaw=True)
    assert same(store.read(HOUR, None, 0, FOREVER)["BTCUSDT"], BARS["BTCUSDT"])
    s3.stop()
    with pytest.raises(Away, match="What waits stays where it is"):
        store.read(HOUR, None, 0, FOREVER)
    s3.start()
    assert store.write(HOUR, BARS).new == 72


def test_what_a_strange_file_system_raises_is_told_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Odd(Exception):
        pass

    def odd(*_: object, **__: object) -> None:
        raise Odd("the tape is torn")

    store = HistoryStore(files_at(f"memory://{tmp_path}"))
    store.write(HOUR, BARS)
    monkeypatch.setattr(MemoryFileSystem, "_open", odd)
    with pytest.raises(
        StoreError, match=r"can not be written .the tape is torn.*nothing that was there is lost"
    ):
        store.write(HOUR, {"A": BARS["BTCUSDT"]})
    with pytest.raises(StoreError, match="the tape is torn"):
        HistoryStore(store.files).read(HOUR, None, 0, FOREVER)


def test_a_writer_that_stops_in_between_leaves_a_hidden_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise OSError("power")

    store = HistoryStore(files_at(f"memory://{tmp_path}"))
    store.write(HOUR, BARS)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "mv", stop)
        with pytest.raises(StoreError, match="power"):
            store.write(HOUR, {"A": BARS["BTCUSDT"]})

    assert list(store.read(HOUR, None, 0, FOREVER)) == ["BTCUSDT"]
    (left,) = store.unfinished
    assert left.name.startswith(".A+A+")
    assert store.tidy() == (left,)
    assert store.unfinished == ()


def test_an_object_of_which_a_part_is_there_is_not_taken_for_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = HistoryStore(files_at(f"memory://{tmp_path}"))
    monkeypatch.setattr(objects.Objects, "size", lambda *_: 17)

    with pytest.raises(StoreError, match=r"17 of \d+ bytes of BTCUSDT"):
        store.write(HOUR, BARS)


def test_other_programs_read_the_same_objects(s3: Server) -> None:
    import pandas as pd
    import polars as pl
    from pyarrow import fs

    history(s3).write(HOUR, BARS)
    where = f"{s3.bucket}/data/binance-usdm/history/1h"
    reached = fs.S3FileSystem(scheme="http", endpoint_override=f"127.0.0.1:{s3.port}", region="us-east-1")
    frame = pd.read_parquet(where, filesystem=reached)
    options = {
        "aws_access_key_id": KEY["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": KEY["AWS_SECRET_ACCESS_KEY"],
        "aws_endpoint_url": f"http://127.0.0.1:{s3.port}",
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    lazy = pl.scan_parquet(f"s3://{where}/**/*.parquet", storage_options=options)

    assert frame["volume"].tolist() == BARS["BTCUSDT"].rows["volume"].tolist()
    assert sorted(lazy.collect()["volume"]) == sorted(BARS["BTCUSDT"].rows["volume"].tolist())


def test_the_front_door_opens_an_address(s3: Server) -> None:
    history(s3).write(HOUR, BARS)

    for address, market in (
        (s3.url("data"), None),
        (s3.url("data/binance-usdm"), None),
        (s3.url("data"), "binance-usdm"),
    ):
        stored = kh.open(address, market)
        assert repr(stored) == "<Stored binance-usdm, 1h>"
        assert same(stored.exact("1h")["BTCUSDT"], BARS["BTCUSDT"])
    with pytest.raises(UnknownName, match="binance-usdm"):
        kh.open(s3.url("data"), "binance-usd")
    with pytest.raises(DefinitionError, match="keeps no klines"):
        kh.open(s3.url("other"))


@pytest.fixture
def hot(tmp_path: Path) -> Iterator[HotStore]:
    """Give a hot store with three days of hours."""
    store = HotStore(SqliteTables(tmp_path / "hot.sqlite3", origin="fapi.test"))
    exact = BARS["BTCUSDT"]
    number, words = np.array([store.number("BTCUSDT", exact.scale)]), words_of(exact)
    first = START // 3_600_000
    store.commit(
        [Slice(HOUR, first + n, Lines(number, np.array([CLOSED]), words[n : n + 1])) for n in range(72)]
    )
    yield store
    store.tables.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_days_wait_for_a_server_that_is_away_and_the_loop_does_not(
    s3: Server, hot: HotStore, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERY", "PAUSE", "AGAIN"):
        monkeypatch.setattr(sealing, name, 0.01)
    turns, failed, moved, turned = 0, asyncio.Event(), asyncio.Event(), threading.Event()

    class Waited(Sealing):
        """Its thread does not go on before the loop has: one that waits in the loop would do so in vain."""

        def step(self, now: int) -> bool:
            assert turned.wait(60.0)
            return super().step(now)

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            if turns > 20:
                turned.set()
            if work.fault:
                failed.set()
            elif work.sealed >= 3 and not hot.range(HOUR).slices:
                moved.set()
            await asyncio.sleep(0.001)

    getattr(s3, how)()
    work = Waited(Stores(hot, history(s3)), lambda _: DAY)
    tasks = [asyncio.create_task(turn()), asyncio.create_task(work.run(lambda: START + 4 * DAY + SETTLED))]
    await failed.wait()
    assert turns > 20
    assert "is not reached" in work.fault
    assert (work.sealed, same(hot.read(HOUR, None, 0, FOREVER)["BTCUSDT"], BARS["BTCUSDT"])) == (0, True)
    if how == "freeze":
        s3.freeze(thaw=True)
    else:
        s3.start()
    await moved.wait()
    for task in tasks:
        task.cancel()
    assert same(history(s3).read(HOUR, None, 0, FOREVER)["BTCUSDT"], BARS["BTCUSDT"])
