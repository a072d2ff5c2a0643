"""Numerals as an exchange prints them, and ones that a reader of numerals gets wrong."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

import numpy as np
from tests.fuzz.dice import Dice

ODD: Final = (
    "NaN", "nan", "Infinity", "-Infinity", "inf", "-0", "-0.0", "-1", "-1.5", "+1", "+1.5", "", " ", ".",
    "-", "+", "e", "1e", "1e+", "1.", ".5", "1..2", "1.2.3", "1,5", "1_0", "0x10", "0b1", "00", "00.50",
    "007", "1e5", "1E-5", "1e0", "0e0", "0e-400", "1e308", "1.8e308", "1e309", "1e-308", "4.9e-324",
    "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-400", "1e999999999", "1e-999999999", " 1",
    "1 ", "1\t", "\uff11", "\u0661", "9007199254740992", "9007199254740993", "9007199254740995",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "999999999999999999",
    "1000000000000000000", "99999999999999999999", "0.000000000000000001", "0.0000000000000000001",
    "9007199254740993.5", "0.30000000000000004", "123456789012345678901234567890", "1" * 41, "1" * 500,
    "0." + "0" * 39 + "1", "0" * 30 + "1", "true", "null",
)  # fmt: skip


def plain(dice: Dice, mantissa: int, decimals: int) -> str:
    """Print mantissa / 10**decimals as the exchange does: no sign, no exponent, all decimals."""
    if decimals == 0:
        return str(mantissa)
    digits = str(mantissa).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def usual(dice: Dice) -> str:
    """Draw a numeral of the documented form and of any size that an exchange has printed."""
    return plain(dice, dice.wide(dice.pick((7, 20, 33, 53))), dice.below(9))


def halfway(dice: Dice) -> str:
    """Draw a numeral at, or one unit beside, the middle of two neighbouring floats."""
    mantissa = (1 << 52 | dice.wide(52)) * 2 + 1
    value = Fraction(mantissa) * Fraction(2) ** (dice.below(70) - 64)
    decimals = dice.below(19)
    near = int(value * 10**decimals) + dice.below(3) - 1
    if 0 <= near < 10**20:
        return plain(dice, near, decimals)
    with localcontext() as exact:
        exact.prec = dice.pick((17, 18, 19, 20, 40))
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"[:80]


def tiny(dice: Dice) -> str:
    """Draw a numeral near the smallest floats, or near the largest."""
    bits = dice.wide(54) if dice.one_in(2) else 0x7FEF_FFFF_FFFF_FFFF - dice.wide(54)
    value = float(np.int64(bits).view(np.float64))
    return f"{value:.{dice.pick((0, 15, 16, 17, 20, 30))}e}"


def long(dice: Dice) -> str:
    """Draw a numeral of 16 to 21 digits with its dot anywhere, perhaps behind zeros."""
    digits = f"{dice.wide(96):021d}"[-(16 + dice.below(6)) :]
    at = dice.below(len(digits)) + 1
    zeros = "0" * dice.below(4) if dice.one_in(4) else ""
    return f"{zeros}{digits[:at]}.{digits[at:]}" if at < len(digits) else zeros + digits


def scientific(dice: Dice) -> str:
    sign = dice.pick(("", "+", "-"))
    return f"{usual(dice)}{dice.pick('eE')}{sign}{dice.wide(dice.pick((2, 5, 9)))}"


_KINDS: Final = (usual, usual, halfway, halfway, tiny, long, long, scientific)


def adversarial(dice: Dice) -> str:
    """Draw any numeral, or something that is none."""
    way = dice.below(12)
    if way == 0:
        return dice.pick(("-", "-", "-0", "+")) + usual(dice)
    return dice.pick(ODD) if way < 3 else dice.pick(_KINDS)(dice)
