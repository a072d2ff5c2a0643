"""Faults of the network between a hub and the exchange: connections, names, addresses."""

from collections.abc import Callable
from urllib.parse import urlsplit

from klinehub.sim.exchange import Served
from klinehub.sim.faults import Fault
from klinehub.sim.loop import SimLoop
from klinehub.sim.mishap import Cure, Deed, nothing, one_of
from klinehub.sim.wire import Address, Link

# An address at which nobody listens.
NOWHERE = "10.255.0.1"


def with_names(loop: SimLoop, served: Served) -> tuple[str, str]:
    """Give the addresses of REST and WebSocket with names in place of numbers, so that DNS can fail."""
    urls = []
    for url, name in ((served.rest_url, "rest.exchange.test"), (served.ws_url, "stream.exchange.test")):
        parts = urlsplit(url)
        loop.hosts[name] = str(parts.hostname)
        urls.append(parts._replace(netloc=f"{name}:{parts.port}").geturl())
    return urls[0], urls[1]


class LineTrouble:
    """Carries out the faults of the network; `stalled` are the connections that carry nothing now."""

    def __init__(self, loop: SimLoop, served: Served) -> None:
        self.stalled: set[Address] = set()
        self._loop = loop
        self._rest, self._stream = (_address(url) for url in (served.rest_url, served.ws_url))
        # What resolves and what is dark, changed by each fault in turn; without a fault all is as it was.
        self._changes: dict[int, Callable[[], None]] = {}
        self._names: dict[str, str] = {}
        self._number = 0

    @property
    def deeds(self) -> dict[str, Deed]:
        """What this can carry out, by the kind of fault."""
        return {
            "reset": self.reset,
            "stall": self.stall,
            "no_dns": self.no_dns,
            "wrong_ip": self.wrong_ip,
            "blackhole": self.blackhole,
        }

    def reset(self, fault: Fault) -> Cure | None:
        """Break one connection, all streams, or everything."""
        links = self._hit(fault)
        for link in links:
            link.reset()
        return nothing if links else None

    def stall(self, fault: Fault) -> Cure | None:
        """Let one connection, all streams, or everything carry nothing, and go on in the end."""
        links = self._hit(fault)
        for link in links:
            link.stall()
            self.stalled.add(link.client)

        def resume() -> None:
            for link in links:
                link.resume()
                self.stalled.discard(link.client)

        return resume if links else None

    def no_dns(self, fault: Fault) -> Cure | None:
        """Let no name resolve."""
        return self._rename(fault, self._loop.hosts.clear)

    def wrong_ip(self, fault: Fault) -> Cure | None:
        """Let every name resolve to an address that refuses connections, or never answers."""

        def change() -> None:
            self._loop.hosts.update(dict.fromkeys(self._loop.hosts, NOWHERE))
            if fault.size >= 0.5:
                self._loop.dark |= {(NOWHERE, port) for _, port in (self._rest, self._stream)}

        return self._rename(fault, change)

    def blackhole(self, fault: Fault) -> Cure | None:
        """Answer no new connection to REST, to the streams, or to both, after the old ones broke or not."""
        both = [self._rest, self._stream]
        hit = both if fault.size < 0.5 else [one_of(both, fault.pick)]
        if fault.pick < 0.5:
            for link in self._loop.links:
                if link.server in hit:
                    link.reset()
        return self._change(lambda: self._loop.dark.update(hit))

    def _hit(self, fault: Fault) -> list[Link]:
        """Choose the connections of a fault: everything, all streams, or one."""
        ours = [link for link in self._loop.links if link.server in {self._rest, self._stream}]
        streams = [link for link in ours if link.server == self._stream]
        if fault.size >= 0.85:
            return ours
        if fault.size >= 0.5 or not streams:
            return streams
        return [one_of(streams, fault.pick)]

    def _rename(self, fault: Fault, change: Callable[[], None]) -> Cure | None:
        """Change names for a time; old connections live on, or break so that names are needed."""
        if not self._changes:
            self._names = dict(self._loop.hosts)
        if not self._names:
            return None
        if fault.pick < 0.5:
            for link in self._loop.links:
                link.reset()
        return self._change(change)

    def _change(self, change: Callable[[], None]) -> Cure:
        if not self._changes:
            self._names = dict(self._loop.hosts)
        self._number += 1
        number = self._number
        self._changes[number] = change
        self._apply()

        def undo() -> None:
            del self._changes[number]
            self._apply()

        return undo

    def _apply(self) -> None:
        """Make names and addresses what the faults of now leave of them."""
        self._loop.dark.clear()
        self._loop.hosts.clear()
        self._loop.hosts.update(self._names)
        for change in self._changes.values():
            change()


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)
