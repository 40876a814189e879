"""How many rows a budget is, exactly."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction


def exact_fraction(value: float) -> Fraction:
    """Return the decimal number that was written, not its binary neighbour.

    0.29 is 29/100 here, while `int(0.29 * 100)` is 28. Raises ValueError if `value` is
    not a number in [0, 1].
    """
    try:
        # The shortest decimal that reads back as this float is what the user typed.
        fraction = Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise ValueError(
            f"{value} is not a fraction: give a number from 0 to 1 (15 % is 0.15)"
        )
    return fraction


def exact_multiple(rows: int, factor: float) -> int:
    """Return `factor` times as many as `rows`, rounded down in decimal arithmetic.

    Raises ValueError if `factor` is negative or not finite.
    """
    if not 0 <= factor < float("inf"):
        raise ValueError(f"{factor} is no multiple: give a finite number above 0")
    exact = Fraction(Decimal(str(factor)))
    return rows * exact.numerator // exact.denominator


def budget_count(
    rows: int, *, fraction: float | None = None, count: int | None = None
) -> int:
    """Return how many of `rows` rows a budget keeps: exactly one of two forms.

    `fraction` of the rows, rounded down in decimal arithmetic (0.15 of 1,000 is 150,
    0.29 of 100 is 29), or `count` rows. Raises ValueError if neither or both are given,
    if `fraction` is outside [0, 1], or if `count` is negative or larger than `rows`.
    """
    if rows < 0:
        raise ValueError(f"the number of rows is {rows}; it cannot be negative")
    if (fraction is None) == (count is None):
        raise ValueError("give a budget as either a fraction or a count, not both")
    if fraction is not None:
        share = exact_fraction(fraction)
        return rows * share.numerator // share.denominator
    assert count is not None
    if not 0 <= count <= rows:
        raise ValueError(
            f"cannot keep {count:,} of {rows:,} rows: give a count from 0 to {rows}, "
            "or a fraction"
        )
    return count
