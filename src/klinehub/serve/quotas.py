"""Quotas: what each client may spend of the exchange's weight, and requests that are counted by number."""

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from klinehub.domain.timeframe import MINUTE

MOST_CLIENTS: Final = 1_024
# All clients that come when so many have spent something in this minute already share one account.
OTHERS: Final = "others"


class Spent(NamedTuple):
    """What a client has spent: in one exchange minute, and since the start."""

    minute: int = -1
    weight: int = 0
    total: int = 0


class Quota:
    """Counts weight by client and exchange minute; every method is told the exchange time *now* in ms.

    As with the exchange itself, the first request of a minute fits whatever its weight.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._spent: dict[str, Spent] = {}

    def fits(self, client: str, weight: int, now: int) -> bool:
        """Say whether a client may spend *weight* now."""
        spent = self._of(self._name(client, now // MINUTE), now // MINUTE)
        return not spent.weight or spent.weight + weight <= self.most

    def spend(self, client: str, weight: int, now: int) -> None:
        """Count what a client asks for."""
        minute = now // MINUTE
        name = self._name(client, minute)
        spent = self._of(name, minute)
        self._spent[name] = Spent(minute, spent.weight + weight, spent.total + weight)

    def refund(self, client: str, weight: int, asked: int) -> None:
        """Take back what was spent at *asked* and never left."""
        name = client if client in self._spent else OTHERS
        spent = self._spent.get(name, Spent())
        if spent.minute == asked // MINUTE:
            self._spent[name] = Spent(
                spent.minute, max(0, spent.weight - weight), max(0, spent.total - weight)
            )

    @property
    def totals(self) -> Mapping[str, int]:
        """The weight spent since the start by client, of those that are still remembered."""
        return {name: spent.total for name, spent in self._spent.items()}

    def _of(self, name: str, minute: int) -> Spent:
        spent = self._spent.get(name, Spent())
        return spent if spent.minute == minute else Spent(minute, 0, spent.total)

    def _name(self, client: str, minute: int) -> str:
        """Give the account of a client: who has spent longest ago is forgotten for it, but none of now."""
        if client in self._spent or len(self._spent) < MOST_CLIENTS:
            return client
        oldest = min(self._spent, key=lambda name: self._spent[name].minute)
        if self._spent[oldest].minute >= minute:
            return OTHERS
        del self._spent[oldest]
        return client


class Window:
    """At most *most* requests in any *span* ms; every method is told the exchange time *now* in ms."""

    def __init__(self, most: int, span: int) -> None:
        self._most = most
        self._span = span
        self._times: deque[int] = deque(maxlen=most)

    def wait(self, now: int) -> int:
        """Give the ms until one more may leave; 0 if at once."""
        if len(self._times) < self._most:
            return 0
        # A clock that is set back must not close this for longer than a span.
        return min(self._span, max(0, self._times[0] + self._span - now))

    def count(self, now: int) -> None:
        """Count one that leaves now; the oldest is forgotten for it."""
        self._times.append(now)
