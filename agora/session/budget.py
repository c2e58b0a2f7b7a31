"""The hard limit on what questions to models may cost: the worst case is reserved before each, settled after it.

Money is in units of 1e-8; prices are units per million tokens. Knows nothing of providers.
"""

from __future__ import annotations

import msgspec

from agora.domain.decisions import Ask
from agora.domain.numbers import PPM, divide_up, money_text, money_units

# Chat templates wrap each message in a few tokens of their own; the largest in use add fewer than these.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_PROMPT = 64


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What a million tokens cost, in money units."""

    input_units: int
    output_units: int

    def cost_units(self, *, input_tokens: int, output_tokens: int) -> int:
        """The cost of so many tokens, rounded up: against us."""
        return divide_up(input_tokens * self.input_units + output_tokens * self.output_units, PPM)


def prices_of(*, input_text: str, output_text: str) -> Prices | None:
    """Prices from the decimal texts of the settings; None when they are unknown (empty)."""
    if not input_text or not output_text:
        return None
    return Prices(input_units=money_units(input_text), output_units=money_units(output_text))


def prompt_tokens_max(ask: Ask) -> int:
    """No tokenizer in use makes more tokens than the prompt has bytes, plus what wraps each message."""
    content_bytes = sum(len(message.content.encode()) for message in ask.messages)
    return content_bytes + TOKENS_PER_MESSAGE * len(ask.messages) + TOKENS_PER_PROMPT


class Reservation(msgspec.Struct, frozen=True):
    """Money set aside for one question."""

    worst_units: int


class Budget:
    """Spent and reserved money, never together above the cap. `spent_units` is what a resumed run had spent."""

    def __init__(self, *, cap_units: int, is_unknown_price_allowed: bool, spent_units: int = 0) -> None:
        self._cap_units = cap_units
        self._is_unknown_price_allowed = is_unknown_price_allowed
        self.spent_units = spent_units
        self.reserved_units = 0
        # What providers charged beyond a worst case: they counted more tokens than there were bytes, or ignored the
        # limit of the answer. It is spent, and everything after it has that much less.
        self.overrun_units = 0

    def refusal(self, ask: Ask, prices: Prices | None) -> str | None:
        """Why the question may not be asked now, or None."""
        if prices is None:
            return None if self._is_unknown_price_allowed else f"the price of {ask.model} is unknown"
        worst_units = _worst_units(ask, prices)
        left_units = self._cap_units - self.spent_units - self.reserved_units
        if worst_units > left_units:
            return f"could cost {money_text(worst_units)}, {money_text(max(0, left_units))} is left"
        return None

    def reserve(self, ask: Ask, prices: Prices | None) -> Reservation:
        """Set the worst case aside; only for a question that has no `refusal`."""
        assert self.refusal(ask, prices) is None, "a question beyond the budget"
        reservation = Reservation(0 if prices is None else _worst_units(ask, prices))
        self.reserved_units += reservation.worst_units
        self._check()
        return reservation

    def settle(self, reservation: Reservation, cost_units: int) -> None:
        """The question is over and has cost so much (`reservation.worst_units` where nobody knows)."""
        assert cost_units >= 0, f"a negative cost: {cost_units}"
        self.reserved_units -= reservation.worst_units
        self.spent_units += cost_units
        self.overrun_units += max(0, cost_units - reservation.worst_units)
        self._check()

    def _check(self) -> None:
        assert self.reserved_units >= 0, f"reserved {self.reserved_units}"
        bound_units = self._cap_units + self.overrun_units
        total_units = self.spent_units + self.reserved_units
        assert total_units <= max(bound_units, self.spent_units), f"{total_units} is beyond {bound_units}"


def _worst_units(ask: Ask, prices: Prices) -> int:
    return prices.cost_units(input_tokens=prompt_tokens_max(ask), output_tokens=ask.max_tokens)
