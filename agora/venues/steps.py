"""Decimal text of a feed as whole steps (ticks, lots), cheaply: the numbers of a book are the same again and again."""

from __future__ import annotations

from decimal import Decimal

from agora.domain.numbers import Rounding, parse_decimal, to_steps
from agora.venues.screen import Reason

# A window of 15 levels and the windows around it; beyond it the market has moved on and old texts only fill memory.
TEXTS_KEPT = 8_192
# No price or size needs more; what is longer is not kept as a key.
TEXT_CHARACTERS_MAX = 64
# Above 10^20 no number is a price or a size, and making an integer of 1e999999 would take minutes.
MAGNITUDE_MAX = 20


class Unusable(ValueError):
    """A number that cannot be used; `reason` is the word for it."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(f"{reason}: {text[:TEXT_CHARACTERS_MAX]}")
        self.reason = reason


class Steps:
    """Converts numbers to multiples of one step. Without a `rounding` what lies between two steps is refused."""

    __slots__ = ("_decimals", "_is_exact", "_known", "_rounding", "_step")

    def __init__(self, step: Decimal, rounding: Rounding | None) -> None:
        self._step = step
        self._is_exact = rounding is None
        self._rounding = rounding or Rounding.DOWN
        # The decimals of a step that is a power of ten: then steps are digits. -1: it is none.
        is_power = step == Decimal(1).scaleb(step.adjusted()) and step <= 1
        self._decimals = -step.adjusted() if is_power and self._rounding is Rounding.DOWN else -1
        self._known: dict[str | float, int] = {}

    def of(self, text: str | float) -> int:
        """How many steps this is; raises `Unusable`. Signs are kept: what must be positive is judged elsewhere."""
        found = self._known.get(text)
        return self._convert(text) if found is None else found

    def _convert(self, text: str | float) -> int:
        count = self._digits(text) if isinstance(text, str) and self._decimals >= 0 else None
        if count is None:
            count = self._divide(text)
        if len(self._known) >= TEXTS_KEPT:
            self._known.clear()
        self._known[text] = count
        return count

    def _digits(self, text: str) -> int | None:
        """The usual case, ten times as fast: plain digits with a point in their place."""
        whole, _, part = text.partition(".")
        digits = whole + part[: self._decimals].ljust(self._decimals, "0")
        rest = part[self._decimals :]
        if len(digits) > MAGNITUDE_MAX or not (digits.isascii() and digits.isdigit()):
            return None
        if rest and (len(rest) > MAGNITUDE_MAX or rest.strip("0" if self._is_exact else "0123456789")):
            return None
        return int(digits) if whole else None

    def _divide(self, text: str | float) -> int:
        if isinstance(text, str) and len(text) > TEXT_CHARACTERS_MAX:
            raise Unusable(Reason.TOO_LONG, text)
        try:
            number = parse_decimal(text)
        except ValueError:
            raise Unusable(Reason.NOT_FINITE, str(text)) from None
        if number.adjusted() > MAGNITUDE_MAX:
            raise Unusable(Reason.TOO_LARGE, str(text))
        count = to_steps(number, step=self._step, rounding=self._rounding)
        if self._is_exact and count * self._step != number:
            raise Unusable(Reason.OFF_TICK, str(text))
        return count
