"""Ingest: the same kline frames of 550 symbols, sent by another process, into each client's newest candle."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from benchmarks.peers.clients import CLIENTS, Book, Client, Streams
from benchmarks.peers.work import Contestant, Differs, Kind

from klinehub.bench.blaster import Orders
from klinehub.bench.ingest import SETTINGS, START, Play, compare, lay_out, repeated
from klinehub.bench.process import Process
from klinehub.bench.script import FRAMES, Script, write
from klinehub.feed.live import chunked

SYMBOLS: Final = 550
MOMENTS: Final = 6
RATE: Final = 2_200
PACED: Final = 6_600
PATIENCE: Final = 60.0
ENVELOPE: Final = b'"data":'


def prepare(folder: Path, seed: int) -> None:
    """Write the frames of three sockets, and those of one that do not name their stream."""
    script = write(seed, FRAMES[:1], symbols=SYMBOLS, start=START, minutes=5, moments=MOMENTS)
    most = SETTINGS.streams_per_socket
    for name, part in (("saturated", script), ("paced", script._replace(frames=script.frames[:PACED]))):
        lay_out_for_peers(part, folder / name, most)
        bare = [
            one._replace(text=one.text[one.text.index(ENVELOPE) + len(ENVELOPE) : -1]) for one in part.frames
        ]
        lay_out_for_peers(part._replace(frames=tuple(bare)), folder / f"{name}-bare", len(script.symbols) + 1)
    (folder / "seed").write_text(str(seed))


def lay_out_for_peers(script: Script, folder: Path, per_socket: int) -> None:
    """Write a script's frames, what the sender has to know, the streams, and each symbol's last candle."""
    play = lay_out(script, folder, per_socket)
    last = {}
    for one in script.frames:
        text = json.loads(one.text)
        bar = text.get("data", text)["k"]
        last[bar["s"]] = [bar["t"], *(float(bar[name]) for name in "ohlcv")]
    (folder / "orders.json").write_bytes(msgspec.json.encode(play.orders))
    (folder / "last.json").write_text(json.dumps(last))
    (folder / "symbols.json").write_text(json.dumps(chunked(script.symbols, 1, per_socket)))
    (folder / "total").write_text(str(len(script.frames)))


def ours(folder: Path) -> Mapping[str, float]:
    """Take the frames in as a hub does, into the ring of a hub; every bar is compared."""
    seed = int((folder / "seed").read_text())
    script = write(seed, FRAMES[:1], symbols=SYMBOLS, start=START, minutes=5, moments=MOMENTS)
    own = folder / f"own-{time.monotonic_ns()}"
    own.mkdir()
    slow = script._replace(frames=script.frames[:PACED])
    saturated: Play = lay_out(script, own / "saturated", SETTINGS.streams_per_socket)
    paced: Play = lay_out(slow, own / "paced", SETTINGS.streams_per_socket)
    run = [repeated(saturated, "saturate", 1)[-1] for _ in ("not counted", "counted")][-1]
    if not compare(run.core, script)["equal"]:
        raise Differs("klinehub's bars are not those that were told.")
    slow_run = [repeated(paced, one, 1)[-1] for one in ("saturate", f"pace {RATE}")][-1]
    return {"saturated": run.us, "paced": slow_run.us}


def client(follow: Client, *, bare: bool = False) -> Contestant:
    """Give the contestant that another library's client is; *bare* frames do not name their stream."""

    def work(folder: Path) -> Mapping[str, float]:
        end = "-bare" if bare else ""
        saturated = measured(follow, folder / f"saturated{end}", "saturate")
        return {"saturated": saturated, "paced": measured(follow, folder / f"paced{end}", f"pace {RATE}")}

    return work


def measured(follow: Client, folder: Path, command: str) -> float:
    """Give the µs of CPU a message; all frames are sent once before, at once, which is not counted."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measured(follow, folder, command))


async def _measured(follow: Client, folder: Path, command: str) -> float:
    orders = msgspec.json.decode((folder / "orders.json").read_bytes(), type=Orders)
    total = int((folder / "total").read_text())
    streams: Streams = json.loads((folder / "symbols.json").read_text())
    book = Book()
    with Process("klinehub.bench.blaster") as sender:
        lanes = {
            name: msgspec.structs.replace(lane, subscriptions=follow.subscriptions)
            for name, lane in orders.lanes.items()
        }
        sender.tell(msgspec.json.encode(msgspec.structs.replace(orders, lanes=lanes)).decode())
        port = int(sender.line())
        ready = threading.Thread(target=sender.line, daemon=True)
        ready.start()
        end = await follow.connect(port, streams, book)
        await asyncio.to_thread(ready.join)
        await _all(book, total, sender, "saturate")
        cpu = await _all(book, total, sender, command)
        # Whoever waits for the last of a symbol may wake after it was counted.
        await asyncio.sleep(0.5)
        await end()
    told = json.loads((folder / "last.json").read_text())
    if wrong := [name for name, candle in told.items() if list(book.last.get(name, ())) != candle]:
        raise Differs(f"{len(wrong)} of {len(told)} last candles differ, {wrong[0]} among them.")
    return cpu / total * 1e6


async def _all(book: Book, total: int, sender: Process, command: str) -> float:
    """Have all frames sent and taken; gives the seconds of CPU of this process."""
    book.count = 0
    begun, cpu = time.monotonic(), time.process_time()
    sender.tell(command)
    while book.count < total:
        await asyncio.sleep(0.01)
        if time.monotonic() - begun > PATIENCE:
            raise TimeoutError(f"{book.count} of {total} messages arrived within {PATIENCE:.0f} s")
    return time.process_time() - cpu


KIND: Final = Kind(
    "Ingest",
    f"Kline messages of {SYMBOLS} symbols (one stream each, some 325 bytes a message), from the socket to "
    "the symbol's newest candle as numbers: µs of CPU of the client's process a message. *Saturated*: "
    f"all at once. *Paced*: {RATE:,} a second, what a market of {SYMBOLS} symbols sends at most, in "
    "bursts of a millisecond. The sender is klinehub's, in another process, over loopback without TLS, "
    "on three sockets (ccxt: one, read message by message: its own way stops for good with this aiohttp). "
    "The peers keep six numbers of the newest candle. klinehub keeps ten "
    "numbers of each bar in its ring, volumes exactly, and builds three larger timeframes besides. At "
    "the end each candle has to be the one told last.",
    {"saturated": "saturated, µs", "paced": "paced, µs"},
    prepare,
    {
        "klinehub": ours,
        **{name: client(one, bare=one.bare) for name, one in CLIENTS.items()},
    },
)
