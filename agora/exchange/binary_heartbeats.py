"""The dead man's switch of API keys: who once began to send heartbeats must go on, or its open orders are cancelled."""

from __future__ import annotations

from functools import partial

import msgspec

from agora.exchange.binary_orders import BinaryOrders
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import HeartbeatAnswer
from agora.exchange.binary_state import BinaryState


class Pulse(msgspec.Struct, kw_only=True):
    """A key that sends heartbeats: the id to come, and when the last one counted."""

    account: int
    next_id: str
    beat_ns: int
    number: int


class BinaryHeartbeats:
    """The heartbeats of all keys. Keys that never sent one are left alone."""

    def __init__(self, state: BinaryState, orders: BinaryOrders) -> None:
        self._state = state
        self._orders = orders
        self._pulses: dict[str, Pulse] = {}

    def beat(self, account: int, key: str, heartbeat_id: str) -> HeartbeatAnswer:
        """Take a heartbeat. The first has the empty id, each later one the id that the last answer told; another id
        does not count, and the answer tells the one expected.
        """
        state, pulse = self._state, self._pulses.get(key)
        expected = pulse.next_id if pulse is not None else ""
        if heartbeat_id != expected:
            return HeartbeatAnswer(is_accepted=False, next_id=expected)
        if pulse is None:
            pulse = self._pulses[key] = Pulse(account=account, next_id="", beat_ns=0, number=state.next_id())
            self._check_later(key, pulse.number)
        pulse.next_id = f"{state.dice.word():016x}{state.dice.word():016x}"
        pulse.beat_ns = state.now_ns
        return HeartbeatAnswer(is_accepted=True, next_id=pulse.next_id)

    def _check_later(self, key: str, number: int) -> None:
        state = self._state
        state.at(state.now_ns + state.rules.heartbeat_check_ns, partial(self._check, key, number))

    def _check(self, key: str, number: int) -> None:
        """Every few seconds: silence of the whole time-out cancels what the key has open and ends its pulse."""
        state, pulse = self._state, self._pulses[key]
        assert pulse.number == number, f"two checks run for one key: {pulse.number}, {number}"
        if state.now_ns - pulse.beat_ns < state.rules.heartbeat_timeout_ns:
            self._check_later(key, number)
            return
        del self._pulses[key]
        self._orders.cancel_where(state.account(pulse.account), key=key, reason=BinaryReason.HEARTBEAT_LOST)
