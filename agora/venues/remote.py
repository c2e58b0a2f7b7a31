"""In place of a machine in this process: a venue elsewhere remembers by itself what it was sent and what it did.

And in place of that venue, where a run is looked at or opened again without going to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agora.domain.errors import Bug
from agora.domain.events import Event, FeedGap, Reconcile
from agora.domain.orders import Order


class RemoteMachine:
    """Is told everything that a paper machine is told, and has nothing to add. Nothing of it is kept."""

    def send(self, order: Order, ts_ns: int) -> None:
        """The venue has it, or will say that it has not."""

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """The venue has it, or will say that it has not."""

    def on_market(self, event: Event) -> list[Event]:  # noqa: ARG002
        """Fills come from the venue."""
        return []

    def on_gap(self, event: FeedGap) -> None:
        """The venue's own book has no gaps."""

    def advance(self, now_ns: int) -> list[Event]:  # noqa: ARG002
        """The venue's time passes without us."""
        return []

    def snapshot(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, memory: dict[str, Any]) -> None:
        """Nothing to restore."""


class AbsentVenue:
    """A venue that this process does not go to (port `Venue`): a stopped run is opened again without it.

    A cancel that is said to it is said again by the run that goes on; an order must not be.
    """

    @property
    def queue_depth(self) -> int:
        """Nothing waits."""
        return 0

    async def open(self) -> None:
        """There is nobody to connect to."""
        raise Bug("a run was started at a venue that it has no way to")

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:  # noqa: ARG002
        """Nothing is heard."""
        return ()

    def send(self, order: Order, ts_ns: int) -> None:  # noqa: ARG002
        """Nothing may be sent from here."""
        raise Bug(f"order {order.client_id} was sent to a venue that nobody has gone to")

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """Its intent is in the record; the venue's word on the order is asked for when the run goes on."""

    def confirm(self, ts_ns: int) -> None:
        """Nobody answers."""

    async def account(self) -> Reconcile:
        """Nobody knows."""
        raise Bug("the account of a venue was asked for that nobody has gone to")

    async def missed(self) -> Sequence[Event]:
        """Nothing was heard."""
        return ()

    async def close(self) -> None:
        """Nothing is open."""
