"""Members: everybody comes to the same parts, each symbol has its owners, and few move when one goes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from klinehub.relay.members import shard

SYMBOLS = tuple(f"S{n}USDT" for n in range(60))
MEMBERS = st.lists(st.text("abcdef0123", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@given(MEMBERS, st.integers(1, 3))
def test_each_symbol_belongs_to_as_many_members_as_copies_are_wanted(names: list[str], copies: int) -> None:
    owned = Counter(symbol for me in names for symbol in shard(SYMBOLS, names, me, copies))

    assert set(owned) == set(SYMBOLS)
    assert set(owned.values()) == {min(copies, len(names))}


@given(MEMBERS)
def test_when_one_goes_only_its_symbols_move(names: list[str]) -> None:
    gone, left = names[0], names[1:]
    for me in left:
        before, after = set(shard(SYMBOLS, names, me)), set(shard(SYMBOLS, left, me))
        assert before <= after
        assert after - before <= set(shard(SYMBOLS, names, gone))


def test_parts_are_about_equal() -> None:
    names = ["one", "two", "three"]
    sizes = [len(shard(SYMBOLS, names, me)) for me in names]

    assert sum(sizes) == len(SYMBOLS)
    assert min(sizes) > len(SYMBOLS) / 6


def test_one_that_does_not_know_itself_among_the_members_counts_all_the_same() -> None:
    assert shard(SYMBOLS, [], "me") == SYMBOLS
    assert shard(SYMBOLS, ["other"], "me") == shard(SYMBOLS, ["other", "me"], "me")
