"""What is said on a stream's socket: which names to follow and to leave, and what the answers teach."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from klinehub.feed.binance import SUBSCRIBE, TOO_MANY, UNSUBSCRIBE, Answer, control_message, packed

# A name that was refused is asked for again after this many seconds; after some times twice as many each
# time, up to an hour.
ASK_AGAIN: Final = (60.0, 3_600.0)
SOON: Final = 3
# An answer that has not come after this many seconds is waited for no longer.
PATIENCE: Final = 10.0


class Wishes:
    """The names a seat wants, over all its sockets, and what is known of those the exchange refuses.

    A refused group is parted in two until the name at fault stands alone; all other names go on.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names: dict[str, None] = dict.fromkeys(names)
        self.suspects: list[tuple[str, ...]] = []
        self._refused: dict[tuple[str, ...], float] = {}
        self._strikes: Counter[tuple[str, ...]] = Counter()

    @property
    def refused(self) -> tuple[str, ...]:
        """The names that the exchange does not take for now."""
        return tuple(name for group in self._refused for name in group)

    @property
    def due(self) -> float | None:
        """When a refused name is next asked for again (seconds of the loop); None without one."""
        return min(self._refused.values(), default=None)

    def add(self, names: Iterable[str]) -> None:
        """Want these too."""
        self.names.update(dict.fromkeys(names))

    def remove(self, names: Iterable[str]) -> None:
        """Want these no longer."""
        for name in names:
            self.names.pop(name, None)
        self.suspects = [kept for group in self.suspects if (kept := self._wanted(group))]
        self._refused = {kept: due for group, due in self._refused.items() if (kept := self._wanted(group))}

    def plain(self) -> list[str]:
        """Give the names that nothing is held against."""
        doubtful = {name for group in [*self.suspects, *self._refused] for name in group}
        return [name for name in self.names if name not in doubtful]

    def recall(self, now: float) -> None:
        """Ask again for what was refused long enough ago."""
        for group in [group for group, due in self._refused.items() if due <= now]:
            del self._refused[group]
            self.suspects.append(group)

    def accept(self, names: tuple[str, ...]) -> None:
        """Hold nothing more against names that were taken."""
        self._clear(names)
        for group in [group for group in self._strikes if set(names).issuperset(group)]:
            del self._strikes[group]

    def _clear(self, names: tuple[str, ...]) -> None:
        taken = set(names)
        self.suspects = [group for group in self.suspects if not taken.issuperset(group)]

    def suspect(self, groups: Iterable[tuple[str, ...]]) -> None:
        """Ask for each of these groups alone, for one of them is at fault."""
        self.suspects += [
            kept for group in groups if group not in self.suspects and (kept := self._wanted(group))
        ]

    def refuse(self, names: tuple[str, ...], code: int, now: float) -> None:
        """Part a group that was refused; what can or need not be parted is left alone for a while."""
        self._clear(names)
        left = self._wanted(names)
        if len(left) == 1 or (left and code == TOO_MANY):
            first, longest = ASK_AGAIN
            self._refused[left] = now + min(first * 2 ** max(0, self._strikes[left] - SOON), longest)
            self._strikes[left] += 1
        elif left:
            half = len(left) // 2
            self.suspects += [left[:half], left[half:]]

    def _wanted(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.names)


class Dialogue:
    """What one socket was told and answered, and what is still to be said on it.

    Suspects are asked for last, one group at a time, so that a refusal names its group.
    """

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._told: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._asked: dict[int, tuple[tuple[str, ...], float]] = {}
        self._number = 0
        self._refused_at = float("-inf")

    @property
    def unanswered(self) -> bool:
        """Whether the answer to a message is still to come."""
        return bool(self._asked)

    @property
    def said(self) -> bool:
        """Whether all names are asked for that nothing is held against."""
        return not self._leaving() and not self._lacking()

    @property
    def settled(self) -> bool:
        """Whether all is said and answered."""
        return self.said and not self._asked and self._alone() is None

    def next(self, now: float) -> str | None:
        """Give the next message to send; None when there is none, or an answer comes first."""
        self._wishes.recall(now)
        leaving = packed(self._leaving())
        if leaving:
            for name in leaving[0]:
                self._told.pop(name, None)
                self._again.pop(name, None)
            return self._say(UNSUBSCRIBE, leaving[0], now)
        lacking = packed(self._lacking())
        group = lacking[0] if lacking else self._alone()
        if group is None or (not lacking and self._held_up(now)):
            return None
        self._told.update(dict.fromkeys(group))
        return self._say(SUBSCRIBE, group, now)

    def repeat(self, names: Iterable[str]) -> None:
        """Leave these names and ask for them anew."""
        self._again.update((name, None) for name in names if name in self._told)

    def answered(self, answer: Answer, now: float) -> None:
        """Learn from an answer; one that belongs to no message is none."""
        names, _ = self._asked.pop(answer.id, ((), 0.0))
        if answer.error is None:
            self._wishes.accept(names)
            return
        for name in names:
            self._told.pop(name, None)
        self._refused_at = now
        self._wishes.refuse(names, answer.error.code, now)

    def turned_away(self, now: float) -> bool:
        """Learn from a socket that the exchange has ended for what it was asked; whether it was that."""
        if now - self._refused_at < PATIENCE:
            return True
        groups = [names for names, asked in self._asked.values() if names and now - asked < PATIENCE]
        if len(groups) == 1:
            self._wishes.refuse(groups[0], 0, now)
        else:
            self._wishes.suspect(groups)
        return bool(groups)

    def _say(self, method: str, names: tuple[str, ...], now: float) -> str:
        self._number += 1
        self._asked[self._number] = (names if method == SUBSCRIBE else (), now)
        return control_message(method, names, self._number)

    def _leaving(self) -> list[str]:
        return [name for name in self._told if name in self._again or name not in self._wishes.names]

    def _lacking(self) -> list[str]:
        return [name for name in self._wishes.plain() if name not in self._told]

    def _alone(self) -> tuple[str, ...] | None:
        """Give the first group of suspects that was not asked for here."""
        return next((group for group in self._wishes.suspects if group[0] not in self._told), None)

    def _held_up(self, now: float) -> bool:
        return any(now - asked < PATIENCE for _, asked in self._asked.values())
