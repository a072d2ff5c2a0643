"""What a REST request is for: each use has its own share of the budget and its own place in the queue."""

from enum import StrEnum


class Use(StrEnum):
    """The uses, the most urgent first; a probe is a request that tells a quiet symbol from a dead stream."""

    ORDERS = "orders"  # the user's own, and what else is signed
    CONTROL = "control"  # time, listing
    PROBE = "probe"
    REPAIR = "repair"
    FORWARDED = "forwarded"
    WARM_UP = "warm-up"
    DEEPEN = "deepen"  # history before that of the warm-up
    AUDIT = "audit"
    POLL = "poll"  # open interest
