"""What a new listing means: told once each, whatever the exchange does with a symbol's status."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.listing import Listing
from klinehub.errors import DataError
from klinehub.feed.binance import CONTRACT_INFO
from klinehub.feed.listing_changes import GONE, changes, wanted
from klinehub.feed.slow import read_event
from klinehub.sim.listings import plan

HOUR: Final = 3_600_000
START: Final = 1_791_241_200_000
STATUSES: Final = (
    "PENDING_TRADING",
    "TRADING",
    "TRADING_HALT",
    "TRADING_CANCEL_ONLY",
    "PRE_SETTLE",
    "SETTLING",
    "CLOSE",
    "PRE_DELIVERING",
    "DELIVERING",
    "DELIVERED",
    "A_NEW_ONE",
)
PERPETUALS: Final = wanted("USDT", tradifi=True)


def listing(symbol: str, status: str = "TRADING", *, quote: str = "USDT", kind: str = "PERPETUAL") -> Listing:
    return Listing(
        symbol=symbol, pair=symbol, contract_type=kind, status=status, base_asset=symbol.removesuffix(quote),
        quote_asset=quote, onboard_time=0, price_decimals=2, quantity_decimals=3,
    )  # fmt: skip


def known(*items: Listing) -> dict[str, Listing]:
    return {item.symbol: item for item in items}


A, B, C = (listing(name) for name in ("AUSDT", "BUSDT", "CUSDT"))


def test_the_same_listing_again_changes_nothing() -> None:
    found = changes(known(A, B), [B, A], ["AUSDT", "BUSDT"], PERPETUALS)

    assert found == ((), (), (), known(A, B))


def test_a_new_symbol_is_added_once_it_trades() -> None:
    soon = listing("NEWUSDT", "PENDING_TRADING")
    first = changes(known(A), [soon, A], ["AUSDT"], PERPETUALS)
    assert first[:3] == ((), (), ())

    second = changes(first.listings, [listing("NEWUSDT"), A], ["AUSDT"], PERPETUALS)
    assert second[:3] == (("NEWUSDT",), (), ())
    third = changes(second.listings, [listing("NEWUSDT"), A], ["AUSDT", "NEWUSDT"], PERPETUALS)
    assert third[:3] == ((), (), ())


def test_new_symbols_come_in_the_order_of_their_names() -> None:
    names = ["ZUSDT", "1000XUSDT", "币安人生USDT", "MUSDT"]

    assert changes({}, [listing(name) for name in names], [], PERPETUALS).added == tuple(sorted(names))


@pytest.mark.parametrize("status", [one for one in STATUSES if one != "TRADING"])
def test_a_symbol_that_stops_trading_is_frozen_once_and_thawed_when_it_trades_again(status: str) -> None:
    stopped = changes(known(A, B), [listing("AUSDT", status), B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert stopped[:3] == ((), (("AUSDT", status),), ())

    same = changes(stopped.listings, [listing("AUSDT", status), B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert same[:3] == ((), (), ())
    again = changes(same.listings, [A, B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert again[:3] == ((), (), ("AUSDT",))


def test_a_further_status_is_told_too() -> None:
    found = changes(
        known(listing("AUSDT", "PRE_SETTLE")), [listing("AUSDT", "SETTLING")], ["AUSDT"], PERPETUALS
    )

    assert found.frozen == (("AUSDT", "SETTLING"),)


def test_a_symbol_that_vanishes_is_gone_and_comes_back() -> None:
    gone = changes(known(A, B), [B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert gone[:3] == ((), (("AUSDT", GONE),), ())
    assert not gone.listings["AUSDT"].trading
    assert gone.listings["AUSDT"].base_asset == "A"

    still = changes(gone.listings, [B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert still[:3] == ((), (), ())
    back = changes(still.listings, [A, B], ["AUSDT", "BUSDT"], PERPETUALS)
    assert back == ((), (), ("AUSDT",), known(A, B))


def test_a_symbol_that_nobody_follows_goes_without_a_word() -> None:
    assert changes(known(A, B), [A], ["AUSDT"], PERPETUALS) == ((), (), (), known(A))


def test_a_renamed_symbol_is_two_series() -> None:
    """The old name settles or vanishes, the new one is added with nothing of the old one's."""
    old, new = listing("RNDRUSDT"), listing("RENDERUSDT")

    moved = changes(known(old), [new], ["RNDRUSDT"], PERPETUALS)
    assert moved[:3] == (("RENDERUSDT",), (("RNDRUSDT", GONE),), ())
    settled = changes(known(old), [listing("RNDRUSDT", "SETTLING"), new], ["RNDRUSDT"], PERPETUALS)
    assert settled[:3] == (("RENDERUSDT",), (("RNDRUSDT", "SETTLING"),), ())
    assert set(moved.listings) == set(settled.listings) == {"RNDRUSDT", "RENDERUSDT"}


def test_a_followed_symbol_that_never_traded_is_frozen_from_the_start() -> None:
    first = changes({}, [listing("AUSDT", "SETTLING"), B], ["AUSDT", "BUSDT"], PERPETUALS)

    assert first[:3] == ((), (("AUSDT", "SETTLING"),), ())


def test_a_listing_of_nothing_is_refused_instead_of_freezing_a_market() -> None:
    with pytest.raises(DataError, match="no symbols"):
        changes(known(A), [], ["AUSDT"], PERPETUALS)


@pytest.mark.parametrize(
    ("test", "names"),
    [
        (PERPETUALS, {"AUSDT", "TSLAUSDT", "OUTUSDT"}),
        (wanted("USDT", tradifi=False), {"AUSDT", "OUTUSDT"}),
        (wanted("USDC", tradifi=True), {"AUSDC"}),
        (wanted("USDT", tradifi=True, exclude=["OUTUSDT"]), {"AUSDT", "TSLAUSDT"}),
        (wanted("USDT", tradifi=False, symbols=["AUSDC", "AUSDT_260327"]), {"AUSDC", "AUSDT_260327"}),
    ],
    ids=["tradifi", "coins", "other-quote", "exclude", "chosen"],
)
def test_what_is_wanted(test: Callable[[Listing], bool], names: set[str]) -> None:
    listed = [
        A,
        listing("OUTUSDT"),
        listing("AUSDC", quote="USDC"),
        listing("TSLAUSDT", kind="TRADIFI_PERPETUAL"),
        listing("AUSDT_260327", kind="CURRENT_QUARTER"),
        listing("ODDUSDT", kind=""),
    ]

    assert set(changes({}, listed, [], test).added) == names
    assert {item.symbol for item in listed if test(item)} == names


names_and_statuses = st.dictionaries(
    st.sampled_from(["AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT"]), st.sampled_from(STATUSES), min_size=1
)


@given(st.lists(names_and_statuses, min_size=1, max_size=10))
def test_following_what_is_told_ends_with_what_trades(history: list[dict[str, str]]) -> None:
    """Who adds, freezes and thaws as told has at each moment just the symbols that trade, and no doubles."""
    listings: dict[str, Listing] = {}
    live: set[str] = set()
    frozen: dict[str, str] = {}
    for statuses in history:
        fresh = [listing(name, status) for name, status in statuses.items()]
        found = changes(listings, fresh, [*live, *frozen], PERPETUALS)
        assert not set(found.added) & {*live, *frozen}
        assert set(found.thawed) <= set(frozen)
        assert all(frozen.get(name) != status for name, status in found.frozen)
        live = live.union(found.added, found.thawed) - {name for name, _ in found.frozen}
        frozen = {name: status for name, status in frozen.items() if name not in found.thawed}
        frozen |= dict(found.frozen)
        listings = found.listings

        assert live == {name for name, status in statuses.items() if status == "TRADING"}
        assert frozen == {name: statuses.get(name, GONE) for name in frozen}


def test_a_simulated_market_s_comings_and_goings_are_all_told() -> None:
    """One symbol an hour is listed and one settles, announced an hour before; read once a minute."""
    market = plan(40, seed=3, start=START, churn_hours=1)
    listings = {item.symbol: item for item in market.listings(START)}
    followed = {item.symbol for item in listings.values() if item.trading and PERPETUALS(item)}
    began = set(followed)
    assert {item.status for item in listings.values()} > {"TRADING", "SETTLING", "CLOSE", "PENDING_TRADING"}
    came, went = [], []
    for minute in range(1, 8 * 60):
        found = changes(listings, market.listings(START + minute * 60_000), followed, PERPETUALS)
        listings = found.listings
        came += [(name, minute) for name in found.added]
        went += [(name, status, minute) for name, status in found.frozen]
        followed |= set(found.added)
        assert found.thawed == ()

    assert [minute % 60 for _, minute in came] == [0] * len(came)
    assert len(came) == 7
    assert {name for name, _ in came}.isdisjoint(began)
    assert all(status == "SETTLING" for _, status, _ in went)
    assert len({name for name, _, _ in went}) == len(went) >= 5
    assert {name for name, _, _ in went} <= began


def test_a_contract_info_event_names_the_symbol_and_its_status() -> None:
    event = read_event(
        b'{"stream":"!contractInfo","data":{"e":"contractInfo","E":1791241200000,"s":"NEWUSDT","ps":"NEWUSDT",'
        b'"ct":"PERPETUAL","dt":4133404800000,"ot":1791241200000,"cs":"TRADING","bks":[{"bs":1}],"st":1}}'
    )

    assert event is not None
    assert f"!{event.e}" == CONTRACT_INFO
    assert (event.s, event.ct, event.cs) == ("NEWUSDT", "PERPETUAL", "TRADING")
