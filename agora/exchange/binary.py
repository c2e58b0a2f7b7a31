"""An exchange of binary markets in one object: pure and deterministic, no clock; time moves by `advance`.

Each market asks whether a price ends a window at least where it began, and has two tokens: of one Up and one Down,
exactly one pays 1. Orders for both tokens stand in one book of the compiled matching kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.dice import Dice
from agora.domain.orders import Side
from agora.exchange import binary_checks as checks
from agora.exchange.binary_accounts import BinaryAccount
from agora.exchange.binary_audit import audit
from agora.exchange.binary_crossing import BinaryCrossing
from agora.exchange.binary_heartbeats import BinaryHeartbeats
from agora.exchange.binary_ledger import COLLATERAL, FEES, OUTSIDE, Place, Pocket
from agora.exchange.binary_open_orders import BinaryOpenOrders
from agora.exchange.binary_orders import BinaryOrders
from agora.exchange.binary_prices import complement
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import (
    BinaryChange,
    BinaryOrder,
    BinaryRequest,
    BinaryTrade,
    BookLevel,
    EngineMode,
    HeartbeatAnswer,
    Holding,
    MarketView,
    ModeChanged,
    Outcome,
    SetOperation,
    TokenBook,
    TradePath,
    TradeQuery,
)
from agora.exchange.binary_rules import BinaryRules, BinaryWindow
from agora.exchange.binary_sets import BinarySets
from agora.exchange.binary_state import BinaryMarket, BinaryState
from agora.exchange.binary_trades import BinaryTrades, given, received
from agora.exchange.binary_windows import BinaryWindows, winner_of


class BinaryExchange:
    """The exchange. Accounts are numbers from `open_account`, markets are named by condition id, tokens by token id.

    Prices are points (10,000 are one unit of collateral), shares and collateral whole millionths. A refusal is a
    value (a `BinaryReason`, or an order with one) and changes nothing. An order id is the caller's and is taken
    once: the same order sent again, while it is open or kept, is refused as DUPLICATED and does no harm.

    What an order needs is held from its entry on. What a trade takes is in escrow until the trade is CONFIRMED, which
    pays both sides, or FAILED, which gives everybody back exactly what was taken; shares that were bought can
    therefore be sold or merged once their trade is confirmed.

    Everything that waits (taker delay, expiration, settlement, heartbeats, opening and closing) happens in `advance`,
    each thing at its own time whatever the steps are. `step` also audits: collateral and tokens are conserved, each
    market has as many Up as Down as locked collateral. The newest `history_max` ended orders and trades are kept, open
    ones always; between two `take_changes` at most `changes_max` changes, older ones are counted in `changes_lost`.
    """

    def __init__(self, rules: BinaryRules, dice: Dice) -> None:
        self.rules = rules
        self._state = BinaryState(rules, dice)
        self._open_orders = BinaryOpenOrders(self._state)
        self._trades = BinaryTrades(self._state)
        self._orders = BinaryOrders(
            self._state, self._open_orders, BinaryCrossing(self._state, self._open_orders, self._trades)
        )
        self._windows = BinaryWindows(self._state, self._orders)
        self._sets = BinarySets(self._state)
        self._heartbeats = BinaryHeartbeats(self._state, self._orders)
        self._mode_changes = 0

    # Accounts.

    def open_account(self, name: str, collateral_units: int, *, is_house: bool = False, is_prompt: bool = False) -> int:
        """Open an account with collateral; return its number. House accounts (the market's others) have no history
        and their orders are not told; prompt ones trade without the taker delay. Raises `ValueError` when all accounts
        are taken.
        """
        state = self._state
        number = len(state.accounts)
        if number >= self.rules.account_capacity:
            raise ValueError(f"all {self.rules.account_capacity} accounts of this exchange are taken")
        history_max = self.rules.history_max
        account = BinaryAccount(number, name, is_house=is_house, is_prompt=is_prompt, history_max=history_max)
        state.accounts.append(account)
        self.deposit(number, collateral_units)
        return number

    def deposit(self, account: int, units: int) -> None:
        """Pay collateral in."""
        owner = Place(self._state.account(account).number, Pocket.FREE)
        self._state.ledger.move(COLLATERAL, units, source=OUTSIDE, target=owner)

    def transfer(self, account: int, to: int, *, asset: str, units: int) -> BinaryReason:
        """Move free collateral or tokens to another account, as somebody with the same wallet would."""
        source, target = (Place(self._state.account(number).number, Pocket.FREE) for number in (account, to))
        if units <= 0:
            return BinaryReason.BAD_PAYLOAD
        if self._state.ledger.units(source.owner, source.pocket, asset) < units:
            return BinaryReason.NOT_ENOUGH_BALANCE
        self._state.ledger.move(asset, units, source=source, target=target)
        return BinaryReason.NONE

    def set_allowance(self, account: int, asset: str, units: int) -> None:
        """Let the exchange take at most so much of an asset (`COLLATERAL` or a token) for orders; unlimited before."""
        self._state.account(account).allowances[asset] = units

    # Orders.

    def submit(self, account: int, request: BinaryRequest) -> BinaryOrder:
        """Take an order; the answer says what became of it at once: INVALID (see its reason), LIVE, MATCHED, DELAYED,
        or for an order that may not rest CANCELED.
        """
        order = self._orders.submit(self._state.account(account), request)
        self._state.tell_levels()
        return order

    def cancel(self, account: int, order_id: str) -> BinaryReason:
        """Cancel an order of one's own, also one that is held; NONE: done."""
        reason = self._orders.cancel(self._state.account(account), order_id)
        self._state.tell_levels()
        return reason

    def cancel_all(self, account: int, *, condition_id: str = "", token_id: str = "") -> list[str] | BinaryReason:
        """Cancel an account's open orders, of one market or token where it is named; return their ids."""
        reason = checks.cancel_refusal(self._state.mode)
        if reason is not BinaryReason.NONE:
            return reason
        ended = self._orders.cancel_where(
            self._state.account(account), condition_id=condition_id, token_id=token_id, reason=BinaryReason.REQUESTED
        )
        self._state.tell_levels()
        return ended

    def cancel_by_venue(self, order_id: str, reason: BinaryReason) -> bool:
        """End an open order whatever its owner wants; False: it is not open."""
        live = self._state.live.get(order_id)
        if live is not None:
            self._open_orders.cancel(live, reason)
            self._state.tell_levels()
        return live is not None

    def heartbeat(self, account: int, key: str, heartbeat_id: str) -> HeartbeatAnswer:
        """Take a heartbeat of an API key; see `HeartbeatAnswer`."""
        return self._heartbeats.beat(self._state.account(account).number, key, heartbeat_id)

    # Complete sets.

    def split(self, account: int, condition_id: str, units: int) -> SetOperation | BinaryReason:
        """Turn collateral into as many of each token, after the settlement delay."""
        return self._sets.split(self._state.account(account), self._state.market(condition_id), units)

    def merge(self, account: int, condition_id: str, units: int) -> SetOperation | BinaryReason:
        """Turn as many of each token into collateral, after the settlement delay."""
        return self._sets.merge(self._state.account(account), self._state.market(condition_id), units)

    def redeem(self, account: int, condition_id: str) -> SetOperation | BinaryReason:
        """Turn all free tokens of a resolved market into what they are worth, after the settlement delay."""
        return self._sets.redeem(self._state.account(account), self._state.market(condition_id))

    # What happens to everybody.

    def create_window(self, window: BinaryWindow) -> MarketView:
        """List a market, which opens and closes by itself. Raises `ValueError` for names that are taken."""
        return self._state.view(self._windows.create(window))

    def close_window(self, condition_id: str) -> None:
        """Close an open market before its time."""
        self._windows.close(self._state.market(condition_id))

    def resolve(self, condition_id: str, *, start_price: float, end_price: float) -> bool:
        """Decide a closed market: Up unless the price ended lower; False when it is not closed or decided already."""
        return self._windows.resolve(self._state.market(condition_id), winner_of(start_price, end_price))

    def resolve_as(self, condition_id: str, winner: Outcome) -> bool:
        """Decide a closed market, whatever the price was."""
        return self._windows.resolve(self._state.market(condition_id), winner)

    def set_tick(self, condition_id: str, tick_points: int) -> None:
        """Give a market another tick; orders that rest beside it stay."""
        self._windows.set_tick(self._state.market(condition_id), tick_points)

    def set_mode(self, mode: EngineMode) -> None:
        """Restrict what may be sent; a restart or post-only time that is running is over."""
        self._mode_changes += 1
        if mode is not self._state.mode:
            self._state.mode = mode
            self._state.tell(ModeChanged(self._state.now_ns, mode))
        if mode is not EngineMode.RESTARTING:
            self._orders.release_waiting()
            self._state.tell_levels()

    def restart(self, for_ns: int) -> None:
        """Restart the engine: everything is refused for so long, then only post-only orders are taken for a while."""
        self.set_mode(EngineMode.RESTARTING)
        self._mode_later(for_ns, (EngineMode.POST_ONLY, EngineMode.NORMAL))

    def _mode_later(self, wait_ns: int, modes: Sequence[EngineMode]) -> None:
        number = self._mode_changes

        def change() -> None:
            if number == self._mode_changes:
                self.set_mode(modes[0])
                if modes[1:]:
                    self._mode_later(self.rules.post_only_after_restart_ns, modes[1:])

        self._state.at(self._state.now_ns + wait_ns, change)

    def plan_trades(self, path: TradePath, count: int) -> None:
        """Let the next trades end that way, whatever chance says."""
        self._trades.plan(path, count)

    def divert_trade(self, trade_id: int, path: TradePath) -> bool:
        """Let an unsettled trade go another way, the first step of it at once; False: not known or settled."""
        return self._trades.divert(trade_id, path)

    def advance(self, now_ns: int) -> None:
        """Move time; everything that is due until then happens, in order."""
        state = self._state
        assert now_ns >= state.now_ns, f"time runs backwards: from {state.now_ns} to {now_ns}"
        while True:
            expiring = min(state.trading.values(), key=_earliest_expiry, default=None)
            expiry_ns = _earliest_expiry(expiring) if expiring is not None else state.next_due_ns()
            due_ns = min(expiry_ns, state.next_due_ns())
            if due_ns > now_ns:
                break
            state.now_ns = max(state.now_ns, due_ns)
            if expiring is not None and expiry_ns < state.next_due_ns():
                self._open_orders.expire(expiring)
            else:
                state.take_timer()()
            state.tell_levels()
        state.now_ns = now_ns

    def step(self, now_ns: int) -> None:
        """Move time and audit. Raises `AssertionError` when collateral, tokens or orders do not add up."""
        self.advance(now_ns)
        self.check()

    def check(self) -> None:
        """Assert conservation, and that holds, escrow and books are those of orders, trades and sets."""
        audit(self._state, self._trades, self._sets)

    def take_changes(self) -> list[BinaryChange]:
        """Everything that happened since the last call, in causal order."""
        changes = list(self._state.changes)
        self._state.changes.clear()
        return changes

    @property
    def changes_lost(self) -> int:
        """Changes that nobody took in time."""
        return self._state.changes_lost

    # What can be read.

    @property
    def now_ns(self) -> int:
        """The time that everything is stamped with."""
        return self._state.now_ns

    @property
    def mode(self) -> EngineMode:
        """What the exchange allows at present."""
        return self._state.mode

    def market(self, condition_id: str) -> MarketView:
        """A market as it is now. Raises `KeyError` for one that was never created."""
        return self._state.view(self._state.market(condition_id))

    def markets(self) -> list[MarketView]:
        """All markets, in the order of their creation."""
        return [self._state.view(market) for market in self._state.by_number]

    def market_of(self, token_id: str) -> tuple[MarketView, Outcome] | None:
        """The market and outcome of a token."""
        known = self._state.by_token.get(token_id)
        return (self._state.view(known[0]), known[1]) if known is not None else None

    def book(self, token_id: str) -> TokenBook:
        """A token's whole book, the complements of the other token's orders included. `KeyError`: no such token."""
        market, outcome = self._state.by_token[token_id]
        bids = self._levels(market, outcome, Side.BUY)
        asks = self._levels(market, outcome, Side.SELL)
        last = market.last_points if outcome is Outcome.UP else complement(market.last_points)
        return TokenBook(token_id=token_id, bids=bids, asks=asks, last_points=last)

    def _levels(self, market: BinaryMarket, outcome: Outcome, side: Side) -> tuple[BookLevel, ...]:
        if outcome is Outcome.UP:
            return tuple(BookLevel(points, size) for points, size, _ in self._state.levels(market, side))
        rows = self._state.levels(market, Side(-side))
        return tuple(BookLevel(complement(points), size) for points, size, _ in rows)

    def order(self, order_id: str) -> BinaryOrder | None:
        """An order of an account with a history, open or ended; of a house account only an open one."""
        live = self._state.live.get(order_id)
        return live.record if live is not None else self._state.orders.get(order_id)

    def open_orders(self, account: int, *, condition_id: str = "", token_id: str = "") -> list[BinaryOrder]:
        """Orders that rest or are held, oldest first."""
        records = (live.record for live in self._state.account(account).open.values())
        return [
            record
            for record in records
            if condition_id in {"", record.condition_id} and token_id in {"", record.token_id}
        ]

    def trade(self, trade_id: int) -> BinaryTrade | None:
        """A trade by its id; one among house accounts only until it is settled."""
        return self._state.trades.get(trade_id)

    def trades(self, account: int, query: TradeQuery | None = None) -> list[BinaryTrade]:
        """The newest trades of an account with a history that a query asks for, oldest first."""
        query = query or TradeQuery()
        found: list[BinaryTrade] = []
        for trade_id in reversed(self._state.account(account).trade_ids):
            trade = self._state.trades.get(trade_id)
            if trade is None or len(found) >= query.limit:
                break
            if _is_asked_for(trade, query):
                found.append(trade)
        return found[::-1]

    def unsettled_trades(self) -> Sequence[BinaryTrade]:
        """Trades that are neither CONFIRMED nor FAILED, oldest first."""
        return self._trades.unsettled

    def holding(self, account: int, asset: str) -> Holding:
        """What an account has of the collateral or of a token."""
        owner, ledger = self._state.account(account).number, self._state.ledger
        coming = sum(units for known, units in self._coming(owner) if known == asset)
        free, held = (ledger.units(owner, pocket, asset) for pocket in (Pocket.FREE, Pocket.HELD))
        return Holding(free, held, coming)

    def _coming(self, account: int) -> list[tuple[str, int]]:
        """What unconfirmed trades will bring an account."""
        sides = (side for trade in self._trades.unsettled for side in trade.sides if side.account == account)
        return [received(side) for side in sides]

    def escrowed_units(self, account: int, asset: str) -> int:
        """What an account has given to trades that are not settled."""
        sides = (side for trade in self._trades.unsettled for side in trade.sides if side.account == account)
        return sum(units for known, units in map(given, sides) if known == asset)

    def assets(self, account: int) -> Sequence[str]:
        """What an account has any of."""
        return self._state.ledger.assets_of(self._state.account(account).number)

    def pending_sets(self) -> Sequence[SetOperation]:
        """Splits, merges and redemptions that are not settled, oldest first."""
        return self._sets.pending

    @property
    def fees_units(self) -> int:
        """What takers have paid in fees of confirmed trades."""
        return self._state.ledger.units(FEES.owner, FEES.pocket, COLLATERAL)


def _earliest_expiry(market: BinaryMarket) -> int:
    return market.book.earliest_expiry_ns


def _is_asked_for(trade: BinaryTrade, query: TradeQuery) -> bool:
    tokens = {side.token_id for side in trade.sides}
    return (
        query.trade_id in {0, trade.trade_id}
        and query.condition_id in {"", trade.condition_id}
        and (not query.token_id or query.token_id in tokens)
        and (not query.after_ns or trade.matched_ns > query.after_ns)
        and (not query.before_ns or trade.matched_ns < query.before_ns)
    )
