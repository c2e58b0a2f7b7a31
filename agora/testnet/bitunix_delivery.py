"""Faults of the loopback Bitunix's sockets: connections refused or mute; frames and pushes spoiled, late, twice, lost.

Market frames are the target `market`, those of mark and index price `prices` too; pushes of an account are `user`.
Faults of fills concern the pushes by which one could learn of a fill: orders of which something is filled, positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import msgspec

from agora.testnet.bitunix_connection import Client, Outgoing
from agora.testnet.bitunix_spoiled import SPOILED
from agora.testnet.faults import Fault, FaultPlan, PlannedFault

# Faults that only prices can have: pushes of an account have none that a window or a trade would show.
OF_PRICES = (Fault.WRONG_PRICE, Fault.CROSSED_BOOK)
OF_FILLS = (Fault.LOST_FILLS, Fault.DUPLICATE_FILLS, Fault.LATE_FILLS, Fault.REORDERED_FILLS)
# A frame that is to be overtaken waits so long for the next one.
OVERTAKEN_S_MAX = 1.0
# Where a frame that waits to be overtaken by any other push about fills is kept.
FILLS = "fills"


class Delivery:
    """What happens to connections and to frames on their way, by plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def _fires(self, fault: Fault, targets: Collection[str]) -> PlannedFault | None:
        fired = self._plan.firing(targets, (fault,))
        return fired[0] if fired else None

    def allows_connection(self, target: str) -> bool:
        """Whether a socket may connect."""
        return self._fires(Fault.REFUSE, (target,)) is None

    def on_ping(self, target: str) -> str:
        """What becomes of a keep-alive: `answer`, `drop` or `close`."""
        if self._fires(Fault.HEARTBEAT_REFUSED, (target,)) is not None:
            return "close"
        return "drop" if self._fires(Fault.DROP_PONG, (target,)) is not None else "answer"

    def is_mute(self, target: str) -> bool:
        """Whether what would be sent is swallowed: the connection is up, and dead."""
        return self._fires(Fault.WS_MUTE, (target,)) is not None

    def pass_on(self, client: Client, channel: str, out: Outgoing) -> None:
        """A frame on its way to a client."""
        is_private = client.target == "user"
        targets = (client.target, "prices") if channel == "price" else (client.target,)
        for push in self._pushed(client, channel, out) if is_private else (out,):
            for whole in self._delivered(client, channel, push, targets=targets):
                sliced = msgspec.structs.replace(whole, is_sliced=self._fires(Fault.SLICED, targets) is not None)
                slow = self._fires(Fault.SLOW, targets)
                if slow is None:
                    client.put(sliced)
                else:
                    _later(slow.delay_s, client.put, sliced)

    def _delivered(self, client: Client, channel: str, out: Outgoing, *, targets: Collection[str]) -> list[Outgoing]:
        """A frame: itself, spoiled, twice, after the next one, or not at all."""
        assert isinstance(out.content, str)
        if self._fires(Fault.GAP, targets) is not None:
            return []
        for fault, spoil in SPOILED.items():
            if not _has_room_for(fault, client, channel):
                continue
            entry = self._fires(fault, targets)
            if entry is not None:
                # What a spoiled frame tells is no news.
                return [Outgoing(spoil(out.content, entry))]
        kept = client.kept.pop(channel, None)
        if kept is not None:
            return [out, kept]
        if self._fires(Fault.OUT_OF_ORDER, targets) is not None:
            _keep(client, channel, out)
            return []
        return [out, out] if self._fires(Fault.DUPLICATE, targets) is not None else [out]

    def _pushed(self, client: Client, channel: str, out: Outgoing) -> list[Outgoing]:
        """A push of an account; those about fills may be lost, late, repeated or out of order."""
        assert isinstance(out.content, str)
        pushes = [out]
        if channel == "order" and self._fires(Fault.UNKNOWN_ORDER_UPDATES, ("user",)) is not None:
            pushes.append(Outgoing(_of_unknown_order(out.content)))
        if not self._plan.active(*OF_FILLS) or not _is_about_a_fill(channel, out.content):
            return pushes
        if self._fires(Fault.LOST_FILLS, ("user",)) is not None:
            return pushes[1:]
        late = self._fires(Fault.LATE_FILLS, ("user",))
        if late is not None:
            _later(late.delay_s, client.put, out)
            return pushes[1:]
        kept = client.kept.pop(FILLS, None)
        if kept is not None:
            return [*pushes, kept]
        if self._fires(Fault.REORDERED_FILLS, ("user",)) is not None:
            _keep(client, FILLS, out)
            return pushes[1:]
        return [*pushes, out] if self._fires(Fault.DUPLICATE_FILLS, ("user",)) is not None else pushes


def _has_room_for(fault: Fault, client: Client, channel: str) -> bool:
    """Whether a fault can show in a frame: a book is crossed where there is one."""
    if fault is Fault.CROSSED_BOOK:
        return channel.startswith("depth")
    return client.target == "market" or fault not in OF_PRICES


def _later(delay_s: float, put: Callable[[Outgoing], None], out: Outgoing) -> None:
    asyncio.get_running_loop().call_later(delay_s, put, out)


def _keep(client: Client, place: str, out: Outgoing) -> None:
    """Hold a frame back until another overtakes it, or none does."""
    client.kept[place] = out
    asyncio.get_running_loop().call_later(OVERTAKEN_S_MAX, _let_go, client, place, out)


def _let_go(client: Client, place: str, out: Outgoing) -> None:
    if client.kept.get(place) is out:
        client.put(client.kept.pop(place))


def _is_about_a_fill(channel: str, text: str) -> bool:
    if channel == "order":
        return float(msgspec.json.decode(text)["data"]["dealAmount"]) > 0
    return channel == "position"


def _of_unknown_order(text: str) -> str:
    """The same push about an order that nobody has placed."""
    frame = msgspec.json.decode(text)
    data = {**frame["data"], "orderId": f"9{frame['data']['orderId']}", "clientId": ""}
    return msgspec.json.encode({**frame, "data": data}).decode()
