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


def settle(desk: Desk, wishes: Sequence[Wish]) -> list[Wish]:
    """What is left of the wishes of one moment. What falls away is refused on the record."""
    agreed = list(wishes)
    symbols = {wish.entry.instrument for wish in wishes if wish.entry is not None}
    for symbol in sorted(symbols):
        agreed = _net(desk, agreed, symbol)
    return [wish for wish in agreed if not _is_against_another(desk, wish)]


def _net(desk: Desk, wishes: list[Wish], symbol: str) -> list[Wish]:
    """Opposite entries of one moment cancel out; the larger side goes on with the difference, its last cut first."""
    lots = {side: sum(wish.entry_lots for wish in _entries(wishes, symbol, side)) for side in Side}
    if not lots[Side.BUY] or not lots[Side.SELL]:
        return wishes
    loser = Side.BUY if lots[Side.BUY] < lots[Side.SELL] else Side.SELL
    desk.record(
        Arbitrated(
            ts_ns=desk.state.now_ns,
            instrument=symbol,
            buy_lots=lots[Side.BUY],
            sell_lots=lots[Side.SELL],
            traders=tuple(wish.trader for wish in wishes if wish.entry is not None),
        )
    )
    cut = [wish.entry_lots if wish in _entries(wishes, symbol, loser) else 0 for wish in wishes]
    left = lots[loser]
    for number in reversed(range(len(wishes))):
        if wishes[number] in _entries(wishes, symbol, Side(-loser)):
            cut[number] = min(left, wishes[number].entry_lots)
            left -= cut[number]
    rests = [_after_cut(desk, wish, cut_lots) for wish, cut_lots in zip(wishes, cut, strict=True)]
    return [rest for rest in rests if rest is not None]


def _entries(wishes: Sequence[Wish], symbol: str, side: Side) -> list[Wish]:
    return [w for w in wishes if w.entry is not None and w.entry.instrument == symbol and w.entry.side is side]


def _after_cut(desk: Desk, wish: Wish, cut_lots: int) -> Wish | None:
    entry = wish.entry
    if entry is None or not cut_lots:
        return wish
    if entry.size_lots > cut_lots:
        return wish.resized(entry.size_lots - cut_lots)
    orders.refuse(desk, wish.trader, entry, rule="arbitration", reason=f"netted against opposite wishes of {cut_lots}")
    return None


def _is_against_another(desk: Desk, wish: Wish) -> bool:
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
        for order in desk.state.working.values()
        if order.purpose is Purpose.ENTRY
        if order.instrument == entry.instrument and order.trader != wish.trader and order.side != entry.side
    ]
    if held:
        orders.refuse(desk, wish.trader, entry, rule="arbitration", reason="; ".join(held))
    return bool(held)
