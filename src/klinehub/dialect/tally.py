"""Counting request weight per address and fixed UTC minute, and the refusals that follow."""

from dataclasses import dataclass, field
from typing import Final

from klinehub.dialect.params import Rejected
from klinehub.dialect.weights import LIMIT_PER_MINUTE
from klinehub.domain.timeframe import DAY, MINUTE

# Requests sent on after the first 429 of a minute before the address is banned; its first ban in ms.
_PATIENCE: Final = 10
_FIRST_BAN: Final = 2 * MINUTE
_LONGEST_BAN: Final = 3 * DAY
_MANY: Final = 1000
# More are never remembered: the one that came first is counted anew.
_MOST: Final = 50_000


@dataclass(slots=True)
class Account:
    """What one address has spent and how often it was refused."""

    minute: int = -1
    used: int = 0
    refused: int = 0
    bans: int = 0
    banned_until: int = 0


class Refused(Rejected):
    """A 429 or 418 answer with the seconds to wait."""

    def __init__(self, status: int, message: str, wait: int) -> None:
        self.wait = wait
        super().__init__(-1003, message, status)


@dataclass(slots=True)
class Tally:
    """The weight counters of all addresses; without *limits* it only counts.

    An address that keeps asking after a 429 is banned for 2 minutes, doubled with each further ban up
    to 3 days. Where there are many, addresses are forgotten whose minute is over, and their longest ban.
    """

    limits: bool = True
    limit: int = LIMIT_PER_MINUTE
    accounts: dict[str, Account] = field(default_factory=dict)
    _swept: int = -1

    def spend(self, address: str, weight: int, now: int) -> Account:
        """Count a request at exchange time *now* (ms); raises Refused where it goes over the limit."""
        account = self.account(address, now)
        account.used += weight
        if self.limits:
            self._check(account, address, now)
        return account

    def account(self, address: str, now: int) -> Account:
        """Give the account of an address as it is in the minute of *now*."""
        if address not in self.accounts and len(self.accounts) >= _MANY:
            self._forget(now)
        account = self.accounts.setdefault(address, Account())
        if account.minute != now // MINUTE:
            account.minute, account.used, account.refused = now // MINUTE, 0, 0
        return account

    def _forget(self, now: int) -> None:
        """Forget who is not needed any more, at most once a minute: looking at all of them takes time."""
        if self._swept != now // MINUTE:
            self._swept = now // MINUTE
            old = [name for name, one in self.accounts.items() if _is_past(one, now)]
            for name in old:
                del self.accounts[name]
        while len(self.accounts) >= _MOST:
            del self.accounts[next(iter(self.accounts))]

    def _check(self, account: Account, address: str, now: int) -> None:
        if now < account.banned_until:
            raise _ban(account, address, now)
        if account.used <= self.limit:
            return
        account.refused += 1
        if account.refused > _PATIENCE:
            account.banned_until = now + min(_FIRST_BAN << account.bans, _LONGEST_BAN)
            account.bans += 1
            raise _ban(account, address, now)
        wait = -(-(MINUTE - now % MINUTE) // 1000)
        raise Refused(
            429,
            f"Too much request weight used; current limit is {self.limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API.",
            wait,
        )


def _is_past(account: Account, now: int) -> bool:
    forgiven = account.banned_until + _LONGEST_BAN if account.bans else 0
    return account.minute < now // MINUTE and forgiven <= now


def _ban(account: Account, address: str, now: int) -> Refused:
    until = account.banned_until
    return Refused(
        418,
        f"Way too many requests; IP({address}) banned until {until}. "
        "Please use the websocket for live updates to avoid bans.",
        -(-(until - now) // 1000),
    )
