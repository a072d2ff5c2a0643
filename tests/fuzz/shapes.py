"""Shapes: whole inputs drawn from their grammar, from the corpus, or from the two by mutation."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.fuzz.dice import Dice
from tests.fuzz.mutate import mutated, spliced
from tests.fuzz.numerals import ODD, adversarial, plain, usual

CORPUS: Final = Path(__file__).with_name("corpus")
ODD_FRAMES: Final = Path(__file__).parents[1] / "unit" / "feed" / "odd_frames.jsonl"
NAMES: Final = ("BTCUSDT", "1000PEPEUSDT", "币安人生USDT", "BTCUSDT_260327")
TIME: Final = 1_791_240_000_000
SPACES: Final = ("", "", "", "", " ", "\n", "\r\n\t ")
# Fields that a reader has to leave alone, whatever they hold.
EXTRAS: Final = (
    '"B":"0"', '"f":-1', '"L":0', '"T":1791240059999', '"y":1.5e3', '"y":null', '"yy":true', '"A":"\u5e01"',
    '"":1', '"xx":"a,b}{"', '"N":{"o":"7"}', '"M":[1,{"c":"9"}]', '"O":[]', '"P":{}', '"o2":"7"',
    '"st":"\\u006f"', '"W":1e999', '"w":-0.5E+07', '"\U0001f680":"\\ud83d\\ude80"', '"d":{"e":"kline"}',
)  # fmt: skip
# Pairs that make no JSON of what holds them; \udcff stands for the byte ff.
SPOILT: Final = (
    '"f":abc', '"f":01', '"f":1.', '"f":.5', '"f":+1', '"f":-', '"f":--1', '"f":1e', '"f":1e+', '"f":1 2',
    '"f":', '"f"', "", '"f":tru', '"f":nulll', '"f":Null', '"f":NaN', '"f":Infinity', '"f":"\x01"',
    '"f":"a', '"f":a"', '"f":"\\q"', '"f":"\\u12"', '"f":"\\ud800"', '"\udcff":1', '"f":"\udcc0\udcaf"',
    '"f":"\udced\udca0\udc80"', '"f":"\udcf0\udc80\udc80\udc80"', '"f":"\udcf4\udc90\udc80\udc80"',
    '"f":"\udce0\udc80\udc80"', '"f":"\udce5"', '"f":"\udc80"', '"f":"\udcf5\udc80\udc80\udc80"',
    '"f":"\udcc1\udc80"', '"f":1]', '"f":1}', '"f":[1,]', '"f":{,}',
)  # fmt: skip


@cache
def corpus(kind: str) -> tuple[bytes, ...]:
    """Read the corpus of one kind of input, in the order of the files' names."""
    found = [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]
    if kind == "frames":
        lines = ODD_FRAMES.read_text("utf-8").splitlines()
        found += [json.loads(line)["frame"].encode("latin-1") for line in lines]
    return tuple(found)


def joined(dice: Dice, pairs: Sequence[str], left: str = "{", right: str = "}") -> str:
    """Write pairs or values as an object or an array, with white space of one kind."""
    gap = dice.pick(SPACES)
    return f"{left}{gap}{f'{gap},{gap}'.join(pairs)}{gap}{right}"


def prices(dice: Dice) -> tuple[str, str, str, str]:
    """Draw the texts of open, high, low and close that make sense together."""
    decimals, base, reach = dice.below(9), dice.wide(dice.pick((14, 30, 52))), dice.pick((1, 100, 10_000))
    low, one, other, high = sorted(base + dice.below(reach) for _ in range(4))
    first, last = (one, other) if dice.one_in(2) else (other, one)
    return tuple(plain(dice, value, decimals) for value in (first, high, low, last))  # type: ignore[return-value]


def volumes(dice: Dice) -> tuple[str, str, str, str]:
    """Draw the texts of base and quote volume, then of the takers' parts of them."""
    bits, decimals = dice.pick(((24, 3), (40, 2), (56, 8), (10, 0))), (dice.below(9), dice.below(9))
    base, quote = (plain(dice, dice.wide(size), places) for size, places in zip(bits, decimals, strict=False))
    taken = (plain(dice, dice.wide(20), places) for places in decimals)
    zero = dice.pick(("0", "0.00", "0.00000000"))
    none = dice.below(16)
    return (
        zero if none == 0 else base,
        zero if none < 2 else quote,
        *(zero if none < 3 else t for t in taken),
    )  # type: ignore[return-value]


def _bar(dice: Dice) -> list[str]:
    """Draw the pairs of a `k` object."""
    first, high, low, last = prices(dice)
    base, quote, base_taken, quote_taken = volumes(dice)
    at = TIME + 60_000 * dice.below(3) + (dice.below(60_000) if dice.one_in(20) else 0)
    symbol = dice.pick(NAMES) if dice.below(10) else "NEWUSDT"
    frame = "1m" if dice.below(10) else dice.pick(("5m", "1M", "", "1month", "12345678"))
    pairs = [
        f'"t":{at}', f'"T":{at + 59_999}', f'"s":"{symbol}"', f'"i":"{frame}"', f'"f":{dice.wide(30)}',
        f'"L":{dice.wide(30)}', f'"o":"{first}"', f'"c":"{last}"', f'"h":"{high}"', f'"l":"{low}"',
        f'"v":"{base}"', f'"n":{dice.wide(24)}', f'"x":{dice.pick(("true", "false"))}', f'"q":"{quote}"',
        f'"V":"{base_taken}"', f'"Q":"{quote_taken}"', '"B":"0"',
    ]  # fmt: skip
    return _varied(dice, pairs)


def _varied(dice: Dice, pairs: list[str]) -> list[str]:
    """Reorder pairs and add some now and then; seldom lose, double or spoil one."""
    if dice.one_in(4):
        dice.shuffle(pairs)
    for _ in range(dice.pick((0, 0, 0, 1, 2))):
        pairs.insert(dice.below(len(pairs) + 1), dice.pick(EXTRAS if dice.below(9) else SPOILT))
    way = dice.below(16)
    at = dice.below(len(pairs))
    key, _, value = pairs[at].partition(":")
    if way == 0:
        del pairs[at]
    elif way == 1:
        pairs.insert(dice.below(len(pairs) + 1), f"{key}:{_odd_value(dice, value)}")
    elif way < 5:
        pairs[at] = f"{key}:{_odd_value(dice, value)}"
    return pairs


def _odd_value(dice: Dice, value: str) -> str:
    """Give another value of the same type, or of another."""
    text = adversarial(dice)
    if dice.below(4):
        return f'"{text}"' if value[:1] == '"' else text
    return dice.pick(
        (value, value.strip('"'), f'"{value}"', "null", "[]", "{}", "true", '"true"', '"TRUE"', "1", '"0"')
    )


def _frame(dice: Dice) -> bytes:
    """Draw a kline event from its grammar, raw or combined."""
    bar = joined(dice, _bar(dice))
    outer = [
        f'"e":"{"kline" if dice.below(30) else "kline2"}"',
        f'"E":{TIME + 180_000}',
        '"s":"BTCUSDT"',
        f'"k":{bar}',
    ]
    body = joined(dice, _varied(dice, outer))
    if dice.one_in(2):
        around = [f'"stream":"{dice.pick(NAMES).lower()}@kline_1m"', f'"data":{body}']
        body = joined(dice, _varied(dice, around) if dice.one_in(8) else around)
    gap = dice.pick(SPACES)
    return f"{gap}{body}{gap}".encode("utf-8", "surrogateescape")


def _body(dice: Dice) -> bytes:
    """Draw a klines answer from its grammar: none to four rows."""
    lines = []
    for n in range(dice.pick((0, 1, 1, 2, 2, 3, 4))):
        first, high, low, last = prices(dice)
        base, quote, base_taken, quote_taken = volumes(dice)
        at = TIME + 60_000 * n
        texts = (first, high, low, last, base, "", quote, "", base_taken, quote_taken, "0")
        cells = [str(at), *(f'"{text}"' for text in texts)]
        cells[6], cells[8] = str(at + 59_999), str(dice.wide(24))
        way = dice.below(24)
        spoilt = dice.below(len(cells))
        if way == 0:
            del cells[spoilt]
        elif way == 1:
            cells.insert(spoilt, cells[spoilt])
        elif way < 5:
            cells[spoilt] = _odd_value(dice, cells[spoilt])
        elif way == 5:
            cell = cells[spoilt]
            cells[spoilt] = dice.pick(
                (cell[:-1], f"{cell[:-1]}x", cell[1:], f"{cell} {cell}", f"{cell},", f"0{cell}", "")
            )
        lines.append(joined(dice, cells, "[", "]"))
    return joined(dice, lines, "[", "]").encode("utf-8", "surrogateescape")


def _answer(dice: Dice) -> bytes:
    """Draw the body of a listing, of tickers, of the time, or of market data."""
    way = dice.below(11)
    if way >= 8:
        return _market_data(dice).encode("utf-8", "surrogateescape")
    if way < 3:
        number = usual(dice) if dice.below(3) else adversarial(dice)
        time = f"{TIME + dice.wide(40)}" if dice.below(2) else f"{dice.wide(70)}"
        day = [f'"quoteVolume":"{number}"', f'"priceChangePercent":"{usual(dice)}"', f'"closeTime":{time}']
        last = [f'"price":"{number}"', f'"time":{time}']
        told = (day, last)[dice.below(2)]
        pairs = [f'"symbol":"{dice.pick(NAMES)}"', *told, f'"count":{dice.wide(40)}']
        lines = [joined(dice, _varied(dice, list(pairs))) for _ in range(dice.below(3))]
        return joined(dice, lines, "[", "]").encode("utf-8", "surrogateescape")
    if way == 3:
        error = dice.pick(('"error":null', '"result":null', '"error":{"code":2,"msg":"Invalid request"}'))
        return joined(dice, _varied(dice, [error, f'"id":{dice.wide(30)}'])).encode(
            "utf-8", "surrogateescape"
        )
    if way < 5:
        return joined(dice, _varied(dice, [f'"serverTime":{TIME + dice.wide(40)}', '"a":[]'])).encode(
            "utf-8", "surrogateescape"
        )
    steps = [joined(dice, ['"filterType":"PRICE_FILTER"', f'"tickSize":"{usual(dice)}"', '"minPrice":"1"'])]
    pairs = [
        f'"symbol":"{dice.pick(NAMES)}"', '"status":"TRADING"', '"baseAsset":"BTC"', '"quoteAsset":"USDT"',
        '"pair":"BTCUSDT"', '"contractType":"PERPETUAL"', f'"deliveryDate":{dice.wide(63)}',
        f'"onboardDate":{TIME}', f'"pricePrecision":{dice.below(9)}',
        f'"filters":{joined(dice, steps, "[", "]")}',
    ]  # fmt: skip
    lines = [joined(dice, _varied(dice, pairs)) for _ in range(dice.below(3))]
    return joined(dice, ['"timezone":"UTC"', f'"symbols":{joined(dice, lines, "[", "]")}']).encode(
        "utf-8", "surrogateescape"
    )


def _market_data(dice: Dice) -> str:
    """Draw mark prices as the stream or REST tells them, funding intervals, or one open interest."""
    way = dice.below(8)
    name, time = f'"{dice.pick(NAMES)}"', TIME + dice.wide(40)
    prices = [f'"{usual(dice) if dice.below(4) else adversarial(dice)}"' for _ in range(2)]
    rate = dice.pick(('""', '"0.00010000"', '"-0.00310000"', '"0"', '"nan"', '"-1e-5"', "0.001"))
    funding = dice.pick((0, TIME, TIME, TIME + 1))
    if way == 0:
        return joined(
            dice, _varied(dice, [f'"openInterest":{prices[0]}', f'"symbol":{name}', f'"time":{time}'])
        )
    if way == 1:
        hours = f'"fundingIntervalHours":{dice.pick((8, 4, 1, 0, -8, 200))}'
        pairs = [f'"symbol":{name}', hours, '"disclaimer":false', '"updateTime":null']
    elif way < 4:
        pairs = [
            f'"symbol":{name}',
            f'"markPrice":{prices[0]}',
            f'"indexPrice":{prices[1]}',
            f'"time":{time}',
        ]
        pairs += [f'"lastFundingRate":{rate}', f'"nextFundingTime":{funding}', '"interestRate":"0.00010000"']
    else:
        pairs = [
            '"e":"markPriceUpdate"',
            f'"E":{time}',
            f'"s":{name}',
            f'"p":{prices[0]}',
            f'"i":{prices[1]}',
        ]
        pairs += [f'"r":{rate}', f'"T":{funding}', f'"st":{dice.pick((1, 1, 1, 2))}', f'"P":{prices[1]}']
    lines = [joined(dice, _varied(dice, list(pairs))) for _ in range(dice.below(3))]
    rows = joined(dice, lines, "[", "]")
    return joined(dice, ['"stream":"!markPrice@arr"', f'"data":{rows}']) if way > 5 else rows


def _numeral(dice: Dice) -> bytes:
    return adversarial(dice).encode()


GRAMMARS: Final = {"frames": _frame, "bodies": _body, "numerals": _numeral, "answers": _answer}


def drawn(kind: str, dice: Dice) -> bytes:
    """Draw one input: half as the grammar gives it, a sixth from the corpus, the rest changed further."""
    grammar, way = GRAMMARS[kind], dice.below(12)
    if kind == "numerals":
        return grammar(dice) if way < 11 else mutated(dice, dice.pick(ODD).encode())
    if way < 6:
        return grammar(dice)
    if way < 9:
        return mutated(dice, grammar(dice))
    if way < 11:
        return mutated(dice, dice.pick(corpus(kind)))
    return spliced(dice, grammar(dice), dice.pick(corpus(kind)) if dice.one_in(2) else grammar(dice))
