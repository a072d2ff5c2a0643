"""What can go wrong between a hub and an exchange: the catalogue, and seeded schedules drawn from it."""

from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import MINUTE

# Schedules of half an hour hold this many faults.
FEWEST: Final = 3
MOST: Final = 40
_USUAL_SPAN: Final = 30 * MINUTE
# Shares of the seeds: without any fault, and with every fault near a close.
_CALM: Final = 0.1
_FOCUSED: Final = 0.2
NEAR_CLOSE: Final = 3_000
# The closes that a focused schedule aims at, in minutes: larger bars close rarely and matter more.
_CLOSES: Final = (1, 5, 15, 60)


class Kind(NamedTuple):
    """One way to fail: its catalogue row, and the market seconds a fault of it lasts (0: an instant)."""

    name: str
    row: str
    what: str
    shortest: float = 0.0
    longest: float = 0.0


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("reset", "N1", "one or all connections break with a reset"),
        Kind("stall", "N2", "one or all connections carry nothing more, and no end notices", 5, 180),
        Kind("mute_stream", "N3", "one symbol's kline streams say nothing on any connection", 10, 300),
        Kind("mute_socket", "N3", "one connection carries no data, only answers and pings", 10, 300),
        Kind("mute_all", "N3", "no connection carries data, new ones are acknowledged and silent", 5, 300),
        Kind("duplicates", "N4", "frames come twice", 5, 300),
        Kind("disorder", "N5", "an update comes after a newer one of its stream", 5, 300),
        Kind("late_close", "N6", "a closed bar is told up to a minute late", 60, 600),
        Kind("lost_close", "N7", "closed bars are never told", 60, 600),
        Kind("correction", "N8", "a bar that was told closed is another one from now on"),
        Kind("garbage", "N9", "frames that are no klines, or klines that cannot be, come in between", 2, 120),
        Kind("huge_frame", "N10", "a frame of 2 MiB comes"),
        Kind("no_pong", "N11", "pings are not answered", 10, 180),
        Kind("ping_test", "N11", "pings come every second; who does not answer within ten is cut", 15, 60),
        Kind("day_cut", "N12", "connections end because their lifetime is over"),
        Kind("shutdown", "N13", "serverShutdown is announced, the connections are cut soon after", 5, 30),
        Kind("refused_name", "N14", "a subscription with a certain name is answered with an error", 10, 300),
        Kind("policy_cut", "N14", "connections are closed with code 1008"),
        Kind("spent", "R1", "a foreign program spends the weight of this address: 429", 5, 180),
        Kind("ban", "R2", "the address is banned for a time: 418", 60, 300),
        Kind("firewall", "R3", "every request is answered with 403", 10, 300),
        Kind("geo_block", "R3", "every request, or every handshake too, is answered with 451", 10, 300),
        Kind("server_errors", "R4", "requests are answered with 500, 502, 503 or 504", 5, 300),
        Kind("timeouts_408", "R4", "requests are answered with 408", 5, 120),
        Kind("html_body", "R4", "requests are answered with a web page and status 200", 5, 120),
        Kind("slow_body", "R5", "bodies come a byte a second", 5, 120),
        Kind("truncated_body", "R5", "connections end in the middle of a body", 5, 120),
        Kind("wrong_length", "R5", "bodies are shorter or longer than their Content-Length", 5, 120),
        Kind("gzip_bomb", "R5", "bodies unpack to 40 MiB", 5, 60),
        Kind("slow_rest", "R6", "requests and answers are late by seconds", 10, 300),
        Kind("stale_replica", "R7", "answers show the market of some time ago", 10, 300),
        Kind("no_dns", "R8", "names do not resolve", 5, 180),
        Kind("wrong_ip", "R8", "names resolve to an address where nobody is", 5, 180),
        Kind("blackhole", "R8", "new connections are never answered", 5, 180),
        Kind("clock_jump", "C1", "the hub's clock jumps by up to an hour, forth or back"),
        Kind("clock_drift", "C1", "the hub's clock runs wrong by up to 500 ppm", 60, 1200),
        Kind("suspend", "C1", "the hub's machine sleeps and its clock with it", 2, 60),
        Kind("blocked", "P5", "nothing runs for a while, as in a long computation", 1, 30),
        Kind("restart", "R2", "the hub ends and is started again at once"),
        Kind("new_listing", "M1", "a symbol is announced and then trades", 0, 180),
        Kind("delisting", "M2", "a symbol stops trading and goes on flat", 0, 180),
        Kind("rename", "M3", "a symbol ends and another begins at the same moment", 0, 180),
        Kind("maintenance", "M5", "there are no klines at all, and there never will be", 60, 1800),
        Kind("route_gone", "M6", "one WebSocket route acknowledges and says nothing, others go on", 60, 1200),
        Kind("quiet_symbol", "M7", "nobody trades a symbol; its flat bars may not be told", 60, 900),
    )
}
# Faults of a hub's store: they come beside those above, and only where a scene has a store.
DISK_KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("disk_full", "S1", "the disk takes nothing that grows", 5, 180),
        Kind("disk_errors", "S1", "writes, reads or syncs of the disk fail, always or now and then", 5, 180),
        Kind("read_only_disk", "S1", "nothing can be written", 5, 180),
        Kind("power_cut", "S2", "the power fails in the middle of a write, what was not synced may be lost"),
        Kind("kill", "S2", "the hub is killed in the middle of a write and started again"),
        Kind("flipped_bits", "S3", "bits of the store's files change between two hubs"),
        Kind("cut_file", "S3", "a file of the store has lost its end between two hubs"),
        Kind("zeroed_page", "S3", "a page of the store's files is all zeros between two hubs"),
        Kind("second_hub", "S4", "another hub opens the same store"),
        Kind("newer_store", "S5", "a newer klinehub has written the store", 5, 30),
        Kind("half_made", "S5", "the power fails, or the hub is killed, while a new store is made"),
    )
}
# Faults of a hub's own clients: they come where a scene has some.
CONSUMER_KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("consumer_stalls", "P2", "a client of the hub's streams stops reading for a while", 5, 180),
        Kind("consumer_too_slow", "P2", "a client stops reading until it is cut, then hears why", 300, 900),
        Kind("consumers_return", "P3", "all clients of the hub's streams come back at once, and more", 2, 20),
    )
}
ALL_KINDS: Final = {**KINDS, **DISK_KINDS, **CONSUMER_KINDS}
# A hub that is up shall not be impaired by these.
UNFELT: Final = frozenset({"disk_full", "disk_errors", "read_only_disk", "second_hub", *CONSUMER_KINDS})
_MOST_OF_DISK: Final = 8
_MOST_OF_CONSUMERS: Final = 10
REGISTERED: Final[dict[str, str]] = {
    "P1": "slow HTTP clients come with the served API",
    "P6": "a stop of the process is played as restart, its end in a write as kill",
}


class Fault(NamedTuple):
    """One thing that goes wrong at market time `at` (ms) for `seconds` of market time.

    `pick` says which symbol, connection or variant it hits, `size` how bad it is; both in [0, 1).
    """

    kind: str
    at: int
    seconds: float
    pick: float
    size: float


def schedule(rng: np.random.Generator, start: int, end: int) -> list[Fault]:
    """Draw the faults of one run in market time [start, end) ms, sorted by time; they may overlap.

    Half of the kinds are off, the others come at rates drawn log-uniformly. A tenth of the seeds give no
    fault at all, a fifth aim every fault at a close. No fault outlasts *end* by more than its shortest time.
    Where a ban and a restart are drawn, the restart comes during the ban.
    """
    mood = rng.random()
    if mood < _CALM:
        return []
    names = rng.permutation(list(KINDS))[: (len(KINDS) + 1) // 2]
    rates = np.exp(rng.uniform(np.log(0.05), np.log(5.0), len(names)))
    usual = np.exp(rng.uniform(np.log(FEWEST), np.log(MOST + 1)))
    number = max(1, int(usual * (end - start) / _USUAL_SPAN))
    chosen = rng.choice(names, number, p=rates / rates.sum())
    focused = mood < _CALM + _FOCUSED
    drawn = [_fault(rng, str(name), start, end, focused) for name in chosen]
    return sorted(_met(drawn, end), key=_when)


def disk_schedule(rng: np.random.Generator, start: int, end: int) -> list[Fault]:
    """Draw the faults of a store in market time [start, end) ms, sorted by time; half are near a close."""
    number = int(np.exp(rng.uniform(0.0, np.log(_MOST_OF_DISK + 1))))
    names = rng.choice(list(DISK_KINDS), number)
    return sorted((_fault(rng, str(name), start, end, bool(rng.random() < 0.5)) for name in names), key=_when)


def consumer_schedule(rng: np.random.Generator, start: int, end: int) -> list[Fault]:
    """Draw the faults of a hub's clients in market time [start, end) ms, sorted by time."""
    names = rng.choice(list(CONSUMER_KINDS), int(rng.integers(1, _MOST_OF_CONSUMERS + 1)))
    return sorted((_fault(rng, str(name), start, end, bool(rng.random() < 0.5)) for name in names), key=_when)


def _met(faults: list[Fault], end: int) -> list[Fault]:
    """Let the first restart come in the middle of the first ban: alone they all but never meet."""
    ban = next((fault for fault in faults if fault.kind == "ban"), None)
    restart = next((fault for fault in faults if fault.kind == "restart"), None)
    if ban is None or restart is None:
        return faults
    at = min(ban.at + int(1000 * ban.seconds * restart.pick), end - 1)
    return [fault._replace(at=at) if fault is restart else fault for fault in faults]


def _when(fault: Fault) -> tuple[int, str, float]:
    return fault.at, fault.kind, fault.pick


def _fault(rng: np.random.Generator, name: str, start: int, end: int, focused: bool) -> Fault:  # noqa: FBT001
    """Draw when a fault of a kind comes and how long it lasts (log-uniform)."""
    kind = ALL_KINDS[name]
    at = _near_close(rng, start, end) if focused else int(rng.integers(start, end))
    seconds = 0.0
    if kind.longest > 0:
        low = max(kind.shortest, 1.0)
        seconds = float(np.exp(rng.uniform(np.log(low), np.log(kind.longest))))
        seconds = round(max(kind.shortest, min(seconds, (end - at) / 1000)), 3)
    return Fault(name, at, seconds, float(rng.random()), float(rng.random()))


def _near_close(rng: np.random.Generator, start: int, end: int) -> int:
    """Draw a moment near the close of a bar, any timeframe as often as the other."""
    length = int(rng.choice(_CLOSES)) * MINUTE
    first, last = -(-start // length), (end - 1) // length
    if last < first:
        length, first, last = MINUTE, -(-start // MINUTE), (end - 1) // MINUTE
    if last < first:
        return int(rng.integers(start, end))
    close = int(rng.integers(first, last + 1)) * length
    return min(max(close + int(rng.integers(-NEAR_CLOSE, NEAR_CLOSE + 1)), start), end - 1)
