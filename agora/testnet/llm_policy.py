"""What the loopback model "thinks": a decision computed from the prompt alone, the same for the same prompt and seed.

It reads the market's facts where the prompt has them, on one line of JSON, and takes its leaning from the hash of the
persona's words, so that personas differ and no word is special. Knows the form of an answer, not the exchange's rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.dice import Dice, dice_of

# As many orders as one answer may hold, with room for a cancel each.
ORDERS_MAX = 4
# Prices move some ppm per tick: a hundred times the move compares with the noise of a mood.
MOVE_WEIGHT = 100.0
# No price, step or fortune is outside; arithmetic with what is inside stays cheap and exact.
SMALLEST, LARGEST = Decimal(10) ** -12, Decimal(10) ** 15


class PromptPart(msgspec.Struct, frozen=True):
    """One message of a request."""

    role: Annotated[str, Meta(max_length=32)]
    content: str


class OwnOrder(msgspec.Struct, frozen=True):
    """An order of the asking agent, as its prompt shows it."""

    id: int


class AssetFacts(msgspec.Struct, frozen=True):
    """What a prompt says of an asset; numbers are decimal text."""

    symbol: str
    last: Decimal
    closes: tuple[Decimal, ...] = ()
    price_step: Decimal = Decimal("0.01")
    size_step: Decimal = Decimal(1)
    free_size: Decimal = Decimal(0)
    own_orders: tuple[OwnOrder, ...] = ()


class Facts(msgspec.Struct, frozen=True):
    """What a prompt says of the market and the agent's money; other members are left alone."""

    assets: Annotated[tuple[AssetFacts, ...], Meta(min_length=1, max_length=1_000)]
    free_cash: dict[str, Decimal] = {}


_FACTS = msgspec.json.Decoder(Facts)


class Persona:
    """What the hash of a persona's words makes of it."""

    def __init__(self, seed: int, words: str) -> None:
        dice = dice_of(seed, "persona", words)
        self.follows = dice.uniform() * 2.0 - 1.0  # from fading every move to following every move
        self.appetite = 0.2 + 0.6 * dice.uniform()  # the chance to trade an asset it looks at
        self.haste = 0.1 + 0.4 * dice.uniform()  # the chance not to wait for a price
        self.stake = 0.005 + 0.025 * dice.uniform()  # the part of its money in one order


class PolicyModel:
    """Answers prompts; the same seed gives the same answers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def answer(self, parts: Sequence[PromptPart]) -> str:
        """The decision as JSON text."""
        facts = _facts(parts)
        if facts is None:
            return _answer([], [], "no prices in sight")
        persona = Persona(self._seed, _digest(part for part in parts if part.role == "system"))
        dice = dice_of(self._seed, "decision", _digest(parts))
        orders: list[dict[str, str]] = []
        cancels: list[int] = []
        for place in dice.shuffled(len(facts.assets))[:ORDERS_MAX]:
            asset = facts.assets[place]
            if asset.own_orders and dice.chance(0.5):
                cancels.append(asset.own_orders[0].id)
            if dice.chance(persona.appetite):
                orders += _orders(asset, facts, persona=persona, dice=dice)
        return _answer(orders, cancels, f"{len(orders)} orders, {len(cancels)} withdrawn")


def _digest(parts: Iterable[PromptPart]) -> str:
    return hashlib.sha256("\x1f".join(f"{part.role}\x1e{part.content}" for part in parts).encode()).hexdigest()


def _facts(parts: Iterable[PromptPart]) -> Facts | None:
    """The first line that holds facts: what others wrote comes after them, and inside texts."""
    lines = (line for part in parts if part.role != "system" for line in part.content.splitlines())
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            return _FACTS.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
    return None


def _answer(orders: list[dict[str, str]], cancels: list[int], note: str) -> str:
    return msgspec.json.encode({"orders": orders, "cancel": cancels, "note": note}).decode()


def _orders(asset: AssetFacts, facts: Facts, *, persona: Persona, dice: Dice) -> list[dict[str, str]]:
    """One order for the asset, or none when it has no price or there is nothing to trade with."""
    mood, is_hasty, away = dice.normal(), dice.chance(persona.haste), dice.uniform()
    if not all(map(_is_sound, (asset.last, asset.price_step, asset.size_step))):
        return []
    past = asset.closes[0] if asset.closes else asset.last
    moved = float(asset.last / past) - 1.0 if _is_sound(past) else 0.0
    is_buy = mood * 0.5 + persona.follows * moved * MOVE_WEIGHT >= 0
    cash = max((money for money in facts.free_cash.values() if _is_sound(money)), default=Decimal(0))
    stake = Decimal(f"{persona.stake:.6f}")
    free_size = asset.free_size if _is_sound(asset.free_size) else Decimal(0)
    wanted = cash * stake / asset.last if is_buy else free_size * stake * 10
    size = _floored(wanted, asset.size_step)
    if size <= 0:
        return []
    order = {"symbol": asset.symbol, "side": "buy" if is_buy else "sell", "size": f"{size:f}", "type": "market"}
    if is_hasty:
        return [order]
    # From a tenth of a percent through the price, which trades at once, to three tenths away from it.
    distance = Decimal(f"{(0.004 * away - 0.001) * (1 if is_buy else -1):.6f}")
    price = max(asset.price_step, _floored(asset.last * (1 - distance), asset.price_step))
    return [{**order, "type": "limit", "price": f"{price:f}"}]


def _is_sound(number: Decimal) -> bool:
    return number.is_finite() and SMALLEST <= number <= LARGEST


def _floored(number: Decimal, step: Decimal) -> Decimal:
    return (number / step).to_integral_value(rounding=ROUND_FLOOR) * step
