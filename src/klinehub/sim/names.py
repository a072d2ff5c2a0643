"""Names and steps of a synthetic market's symbols, the big ones by their real names."""

from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple


class Coin(NamedTuple):
    """What a symbol starts from: a price (USDT) and a turnover (USDT a day)."""

    base: str
    price: float
    turnover: float
    contract_type: str = "PERPETUAL"
    underlying: str = "COIN"
    sub_types: tuple[str, ...] = ()


_KNOWN: Final = """
BTC:91000 ETH:3100 SOL:165 XRP:2.3 DOGE:0.17 BNB:860 ADA:0.55 LINK:15.2 AVAX:17.5 SUI:1.9 TRX:0.29 LTC:95
1000PEPE:0.0055 DOT:3.1 BCH:520 UNI:7.4 NEAR:2.2 APT:3.3 FIL:1.9 ARB:0.27 ETC:16.5 ATOM:3 HBAR:0.16 XLM:0.27
AAVE:185 INJ:6.6 OP:0.41 WIF:0.48 TON:1.9 ENA:0.32 1000SHIB:0.0092 TIA:0.95 SEI:0.17 ICP:4.6 ALGO:0.16
WLD:0.74 CRV:0.46 RUNE:0.88 LDO:0.8 ORDI:4.8 1000BONK:0.0118 JUP:0.28 PENDLE:2.6 GALA:0.0094 DYDX:0.27
SAND:0.19 MANA:0.21 FET:0.26 STX:0.38 IMX:0.38 EGLD:8.9 KAVA:0.13 GMT:0.019 ENS:13.4 THETA:0.44 VET:0.0152
GRT:0.053 AXS:1.24 CHZ:0.029 COMP:37 SNX:0.66 ZEC:560 DASH:68 XTZ:0.54 EOS:0.31 NEO:4.3 IOTA:0.12 QTUM:1.7
ZIL:0.0062 1INCH:0.19 SUSHI:0.42 YFI:4300 MASK:0.78 APE:0.31 JASMY:0.0079 KSM:10.4 ROSE:0.018 MINA:0.11
FLOW:0.24 HOT:0.0006 ONE:0.0041 CELO:0.21 BAT:0.23 ANKR:0.0083 ZRX:0.19 1000SATS:0.000021 1000FLOKI:0.058
PYTH:0.092 STRK:0.17 BLUR:0.041 ARKM:0.29 CFX:0.088 AR:4.7 KAS:0.047 NOT:0.0008 IO:0.22 ZRO:1.5 ETHFI:1.02
"""
# The exchange lists some names that are not ASCII; a client that assumes otherwise breaks on them.
_NON_ASCII: Final = (("币安人生", 0.164), ("龙虾", 0.0213))
_TRADED_ELSEWHERE: Final = (
    Coin("XAU", 4080.0, 60e6, "TRADIFI_PERPETUAL", "COMMODITY", ("TradFi",)),
    Coin("TSLA", 402.0, 30e6, "TRADIFI_PERPETUAL", "EQUITY", ("TradFi",)),
)
_HEADS: Final = (
    "AL",
    "BRI",
    "CO",
    "DRA",
    "EL",
    "FU",
    "GRI",
    "HY",
    "IN",
    "JO",
    "KA",
    "LU",
    "MO",
    "NE",
    "OR",
    "PI",
)
_TAILS: Final = (
    "BA",
    "RK",
    "DEX",
    "FI",
    "GO",
    "LA",
    "MA",
    "NET",
    "TON",
    "RA",
    "SH",
    "TA",
    "VE",
    "XA",
    "YA",
    "ZO",
)
SPECIAL_FROM: Final = 12


def made_up() -> Iterator[str]:
    """Give pronounceable base assets without end, none of them twice and none of the known ones."""
    given = {pair.split(":")[0] for pair in _KNOWN.split()}
    for n in count():
        number = n // (len(_HEADS) * len(_TAILS))
        name = f"{_HEADS[n % len(_HEADS)]}{_TAILS[n // len(_HEADS) % len(_TAILS)]}{number or ''}"
        if name not in given:
            given.add(name)
            yield name


def _turnover(rank: int) -> float:
    """Give a day's turnover in USDT: 14 billion for the first, some 100 thousand for the 600th."""
    return float(14e9 / (1.0 + rank) ** 1.35 / (1.0 + (rank / 380.0) ** 4))


def coins(number: int) -> list[Coin]:
    """Give the *number* coins of a market, most traded first.

    From a market of 12 on, the last places are taken by non-ASCII names and underlyings that also
    trade elsewhere (TRADIFI_PERPETUAL).
    """
    special: list[Coin] = []
    if number >= SPECIAL_FROM:
        special = [*(Coin(base, price, 40e6) for base, price in _NON_ASCII), *_TRADED_ELSEWHERE]
    names = made_up()
    known = [pair.split(":") for pair in _KNOWN.split()]
    found = [
        Coin(base, float(price), _turnover(i))
        for i, (base, price) in enumerate(known[: number - len(special)])
    ]
    while len(found) < number - len(special):
        rank = len(found)
        # Prices of made-up coins run through the decades, as they do on the exchange.
        price = 10.0 ** (-3.0 + (rank * 0.618_034) % 1.0 * 4.5)
        found.append(Coin(next(names), price, _turnover(rank)))
    return found + special


def decimals_of(price: float) -> tuple[int, int]:
    """Give the printed decimals of prices and quantities for a coin of this price."""
    digits = 2
    while price * 10.0**digits < 5_000.0 and digits < 7:
        digits += 1
    quantity = sum(price > least for least in (5.0, 50.0, 1_000.0))
    return digits, quantity
