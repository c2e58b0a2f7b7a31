"""Faults that happen at the venue by themselves, and those that it is in for a while. Looked at on every tick.

What each means here, where the plan's word leaves it open: `trade_failed` undoes the newest trade of each account;
`tick_size_change` makes prices ten times coarser; `engine_restart` cuts all sockets and lets order calls answer 10001;
`maintenance` stops trading and every call; `foreign_position_change` is a trade of the account's owner elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_records import TradingMode
from agora.testnet.bitunix_sockets import Sockets
from agora.testnet.bitunix_world import World
from agora.testnet.faults import Fault, FaultPlan, Firing

# Things that happen once, when their time comes.
ONCE = (
    Fault.PRICE_MOVE, Fault.FOREIGN_POSITION_CHANGE, Fault.TRADE_FAILED, Fault.DROP_CONNECTIONS, Fault.WS_RESET,
    Fault.WS_CLOSE, Fault.ENGINE_RESTART,
)  # fmt: skip
# States of the venue while their time lasts.
WHILE = (
    Fault.FROZEN_REFERENCE, Fault.AUTH_REVOKED, Fault.CLOCK_SKEW, Fault.CANCEL_ONLY, Fault.POST_ONLY_MODE,
    Fault.MAINTENANCE, Fault.TICK_SIZE_CHANGE,
)  # fmt: skip
FOREIGN_LOTS = 10
COARSE_TICKS = 10


class Happenings:
    """Makes the venue's own faults happen. `is_coarse`, `is_down` and `is_restarting` are asked by the calls."""

    def __init__(self, world: World, plan: FaultPlan) -> None:
        self._world = world
        self._plan = plan
        self._sockets: Sockets | None = None
        self._modes: dict[str, TradingMode] = {}
        self._held: set[Fault] = set()
        world.may_settle_funding = self._may_settle

    def attach(self, sockets: Sockets) -> None:
        """The sockets that some faults cut."""
        self._sockets = sockets

    def is_now(self, fault: Fault) -> bool:
        """Whether the venue is in that state."""
        return bool(self._plan.active(fault))

    def tick(self) -> None:
        """Let happen what is due."""
        once: Mapping[Fault, Callable[[Firing], bool]] = {
            Fault.PRICE_MOVE: self._move,
            Fault.FOREIGN_POSITION_CHANGE: self._trade_for_others,
            Fault.TRADE_FAILED: self._bust,
            Fault.DROP_CONNECTIONS: self._cut,
            Fault.WS_RESET: self._cut,
            Fault.WS_CLOSE: self._close,
            Fault.ENGINE_RESTART: self._cut,
        }
        for firing in self._plan.active(*ONCE):
            # It happens on the first tick on which it can; then it has happened.
            if not firing.occasions and once[firing.entry.fault](firing):
                firing.note()
        self._hold_states()

    # Once.

    def _move(self, firing: Firing) -> bool:
        self._world.move(None, firing.entry.fraction)
        return True

    def _trade_for_others(self, _: Firing) -> bool:
        world = self._world
        done = False
        for account in world.accounts.values():
            symbol = world.symbols[0]
            done = not world.exchange.foreign_trade(account.number, symbol, FOREIGN_LOTS).is_refused or done
        world.publish()
        return done

    def _bust(self, _: Firing) -> bool:
        world, done = self._world, False
        for account in world.accounts.values():
            trades = world.exchange.trades(account.number)
            done = bool(trades and world.exchange.bust_trade(trades[-1].trade_id)) or done
        world.publish()
        return done

    def _cut(self, firing: Firing) -> bool:
        target = firing.entry.target if firing.entry.fault is Fault.WS_RESET else "*"
        clients = [] if self._sockets is None else self._sockets.clients(target)
        for client in clients:
            client.abort()
        return bool(clients)

    def _close(self, firing: Firing) -> bool:
        clients = [] if self._sockets is None else self._sockets.clients(firing.entry.target)
        for client in clients:
            client.close_politely()
        return bool(clients)

    # While.

    def _hold_states(self) -> None:
        now = {firing.entry.fault: firing for firing in self._plan.active(*WHILE)}
        for fault in [*now, *self._held]:
            self._hold(fault, now.get(fault))
        self._held = set(now)
        self._hold_modes(set(now))

    def _hold(self, fault: Fault, firing: Firing | None) -> None:
        """Put the venue into a state, or take it out of it. Entering counts as the firing."""
        world = self._world
        if firing is not None and not firing.occasions:
            firing.note()
        if fault is Fault.FROZEN_REFERENCE:
            world.is_frozen = firing is not None
        elif fault is Fault.CLOCK_SKEW:
            world.skew_ns = 0 if firing is None else int(firing.entry.seconds * NS_PER_S)
        elif fault is Fault.AUTH_REVOKED:
            is_new = firing is not None and fault not in self._held
            for account in world.accounts.values():
                account.is_revoked = firing is not None
            if is_new and self._sockets is not None:
                for client in self._sockets.clients("user"):
                    client.abort()

    def _hold_modes(self, now: set[Fault]) -> None:
        wanted = TradingMode.OPEN
        for fault, mode in (
            (Fault.POST_ONLY_MODE, TradingMode.POST_ONLY),
            (Fault.CANCEL_ONLY, TradingMode.CANCEL_ONLY),
            (Fault.MAINTENANCE, TradingMode.STOP),
        ):
            wanted = mode if fault in now else wanted
        for symbol in self._world.symbols:
            if self._modes.get(symbol, TradingMode.OPEN) is not wanted:
                self._modes[symbol] = wanted
                self._world.exchange.set_trading_mode(symbol, wanted)

    def _may_settle(self, _: str) -> bool:
        missing = self._plan.active(Fault.FUNDING_MISSING)
        for firing in missing:
            firing.note()
        return not missing
