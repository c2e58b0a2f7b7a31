"""Between traders: what each wants is weighed, opposite wishes are netted, and nobody trades against another's share.

One account has one position per instrument. Two traders with opposite positions would pay fees for nothing and leave
stops that guard what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agora.domain.events import Arbitrated
from agora.domain.intents import Intent, Place, Proposal
from agora.domain.numbers import PPM
from agora.domain.orders import Purpose, Side
from agora.engine import orders
from agora.engine.desk import Desk
from agora.engine.shares import open_shares


class Wish(msgspec.Struct, frozen=True):
    """One intent of one trader, with the reason it was proposed for."""

    trader: str
    intent: Intent
    reason: str

    @property
    def entry(self) -> Place | None:
        """The order, when it opens or adds to a position."""
        if isinstance(self.intent, Place) and self.intent.purpose is Purpose.ENTRY:
            return self.intent
        return None

    @property
    def entry_lots(self) -> int:
        """Its size; 0 when it is no entry."""
        return 0 if self.entry is None else self.entry.size_lots

    def resized(self, size_lots: int) -> Wish:
        """The same entry for another size."""
        assert isinstance(self.intent, Place)
        return Wish(self.trader, msgspec.structs.replace(self.intent, size_lots=size_lots), self.reason)


def weigh(trader: str, proposal: Proposal, weight_ppm: int) -> list[Wish]:
    """A trader's intents, its entries scaled to its weight, rounded down (what is too small the limits refuse)."""
    wishes = [Wish(trader, intent, proposal.reason) for intent in proposal.intents]
    if weight_ppm == PPM:
        return wishes
    return [wish if wish.entry is None else wish.resized(wish.entry_lots * weight_ppm // PPM) for wish in wishes]


def net(desk: Desk, wishes: Sequence[Wish]) -> list[Wish]:
    """What is left of the wishes of one moment when opposite ones have cancelled out. The rest is refused on record."""
    left = list(wishes)
    symbols = {wish.entry.instrument for wish in wishes if wish.entry is not None}
    for symbol in sorted(symbols):
        left = _net_symbol(desk, left, symbol)
    return left


def _net_symbol(desk: Desk, wishes: list[Wish], symbol: str) -> list[Wish]:
    """Opposite entries of different traders cancel out; the larger side keeps the difference, its last is cut first."""
    numbers = _opposite_entries(wishes, symbol)
    lots = {side: sum(wishes[number].entry_lots for number in numbers[side]) for side in Side}
    if not lots[Side.BUY] or not lots[Side.SELL]:
        return wishes
    loser = Side.BUY if lots[Side.BUY] < lots[Side.SELL] else Side.SELL
    cuts = {number: wishes[number].entry_lots for number in numbers[loser]}
    left = lots[loser]
    for number in reversed(numbers[Side(-loser)]):
        cuts[number] = min(left, wishes[number].entry_lots)
        left -= cuts[number]
    desk.record(
        Arbitrated(
            ts_ns=desk.state.now_ns,
            instrument=symbol,
            buy_lots=lots[Side.BUY],
            sell_lots=lots[Side.SELL],
            traders=tuple(wishes[number].trader for number in sorted(cuts)),
        )
    )
    reason = f"netted: {lots[Side.BUY]} lots to buy and {lots[Side.SELL]} to sell at one moment"
    rests = [_after_cut(desk, wish, cuts.get(number, 0), reason=reason) for number, wish in enumerate(wishes)]
    return [rest for rest in rests if rest is not None]


def _opposite_entries(wishes: Sequence[Wish], symbol: str) -> dict[Side, list[int]]:
    """The entries of each side, by number. Who wants both sides at once has a reason to, and is not netted."""
    numbers: dict[Side, list[int]] = {side: [] for side in Side}
    for number, wish in enumerate(wishes):
        if wish.entry is not None and wish.entry.instrument == symbol:
            numbers[wish.entry.side].append(number)
    names = [{wishes[number].trader for number in each} for each in numbers.values()]
    both = names[0] & names[1]
    return {side: [n for n in each if wishes[n].trader not in both] for side, each in numbers.items()}


def _after_cut(desk: Desk, wish: Wish, cut_lots: int, *, reason: str) -> Wish | None:
    entry = wish.entry
    if entry is None or not cut_lots:
        return wish
    if entry.size_lots > cut_lots:
        return wish.resized(entry.size_lots - cut_lots)
    orders.refuse(desk, wish.trader, entry, rule="arbitration", reason=reason)
    return None


def is_against_another(desk: Desk, wish: Wish) -> bool:
    """Whether an entry goes against what another trader holds or is entering; refused on the record."""
    entry = wish.entry
    if entry is None:
        return False
    held = [
        f"{trader} holds {lots} lots"
        for trader, symbol, lots in open_shares(desk.state)
        if symbol == entry.instrument and trader != wish.trader and lots * entry.side < 0
    ]
    held += [
        f"{order.trader} is entering {order.side.word} {order.remaining_lots} lots"
        for order in desk.state.orders()
        if order.purpose is Purpose.ENTRY
        if order.instrument == entry.instrument and order.trader != wish.trader and order.side != entry.side
    ]
    if held:
        orders.refuse(desk, wish.trader, entry, rule="arbitration", reason="; ".join(held))
    return bool(held)
