"""What a trader may want: imperatives, never carried out by the trader itself. The risk limits may refuse each."""

from __future__ import annotations

import msgspec

from agora.domain.orders import OrderType, Purpose, Side, TimeInForce


class Place(msgspec.Struct, frozen=True, kw_only=True, tag_field="intent", tag="place"):
    """Place an order, optionally with a protective stop and a target that wake when it fills.

    Prices in ticks (0: none), size in lots, `expire_ts_ns` 0: no expiry.
    """

    instrument: str
    side: Side
    size_lots: int
    purpose: Purpose = Purpose.ENTRY
    type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    price_ticks: int = 0
    trigger_ticks: int = 0
    expire_ts_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    stop_ticks: int = 0
    target_ticks: int = 0


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="intent", tag="cancel"):
    """Cancel a working order by its client id."""

    client_id: str


class Amend(msgspec.Struct, frozen=True, kw_only=True, tag_field="intent", tag="amend"):
    """Move a working order: a new price or trigger in ticks (0: unchanged)."""

    client_id: str
    price_ticks: int = 0
    trigger_ticks: int = 0


Intent = Place | Cancel | Amend


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a trader concluded from one event: its intents, the reason in a word, and the figures it looked at.

    `features` holds statistics for the decision record (floats, never money).
    """

    action: str
    reason: str
    intents: tuple[Intent, ...] = ()
    features: dict[str, float] = {}
