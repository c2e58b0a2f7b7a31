"""Complete sets: split, merge and redeem, each asked for now and settled a while later. Knows no orders."""

from __future__ import annotations

from functools import partial

import msgspec

from agora.exchange.binary_accounts import BinaryAccount
from agora.exchange.binary_ledger import COLLATERAL, ESCROW, OUTSIDE, Place, Pocket, sets_of
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import MarketState, Outcome, SetChanged, SetKind, SetOperation
from agora.exchange.binary_state import BinaryMarket, BinaryState


class BinarySets:
    """What accounts do with sets."""

    def __init__(self, state: BinaryState) -> None:
        self._state = state
        self._pending: dict[int, SetOperation] = {}

    @property
    def pending(self) -> tuple[SetOperation, ...]:
        """Operations that were asked for and are not settled, oldest first."""
        return tuple(self._pending.values())

    def split(self, account: BinaryAccount, market: BinaryMarket, units: int) -> SetOperation | BinaryReason:
        """Lock collateral and make as many of each token. Only while the market may still be traded or merged."""
        if market.state is MarketState.RESOLVED:
            return BinaryReason.MARKET_CLOSED
        if units <= 0:
            return BinaryReason.BAD_PAYLOAD
        if self._free(account, COLLATERAL) < units:
            return BinaryReason.NOT_ENOUGH_BALANCE
        return self._begin(account, market, kind=SetKind.SPLIT, shares=(units, units))

    def merge(self, account: BinaryAccount, market: BinaryMarket, units: int) -> SetOperation | BinaryReason:
        """Give up as many of each token for their collateral."""
        if units <= 0:
            return BinaryReason.BAD_PAYLOAD
        if min(self._free(account, market.token(outcome)) for outcome in Outcome) < units:
            return BinaryReason.NOT_ENOUGH_BALANCE
        return self._begin(account, market, kind=SetKind.MERGE, shares=(units, units))

    def redeem(self, account: BinaryAccount, market: BinaryMarket) -> SetOperation | BinaryReason:
        """Give up all tokens of a resolved market: the winner pays 1, the loser nothing."""
        if market.state is not MarketState.RESOLVED:
            return BinaryReason.MARKET_UNRESOLVED
        shares = (self._free(account, market.token(Outcome.UP)), self._free(account, market.token(Outcome.DOWN)))
        if not any(shares):
            return BinaryReason.NOT_ENOUGH_BALANCE
        return self._begin(account, market, kind=SetKind.REDEEM, shares=shares)

    def _free(self, account: BinaryAccount, asset: str) -> int:
        return self._state.ledger.units(account.number, Pocket.FREE, asset)

    def _begin(
        self, account: BinaryAccount, market: BinaryMarket, *, kind: SetKind, shares: tuple[int, int]
    ) -> SetOperation:
        """Take what is given up, and settle later."""
        state = self._state
        paid = shares[0] if kind is SetKind.MERGE else 0
        if kind is SetKind.REDEEM:
            paid = shares[0] if market.winner is Outcome.UP else shares[1]
        operation = SetOperation(
            number=state.next_id(),
            account=account.number,
            condition_id=market.window.condition_id,
            kind=kind,
            up_units=shares[0],
            down_units=shares[1],
            paid_units=paid,
            asked_ns=state.now_ns,
        )
        for asset, units in given_up(market, operation):
            state.ledger.move(asset, units, source=Place(account.number, Pocket.FREE), target=ESCROW)
        self._pending[operation.number] = operation
        state.tell(SetChanged(state.now_ns, operation))
        state.at(state.now_ns + state.rules.settlement_ns, partial(self._settle, operation.number))
        return operation

    def _settle(self, number: int) -> None:
        """Make or unmake the tokens and move the collateral."""
        operation, ledger = self._pending.pop(number), self._state.ledger
        market = self._state.market(operation.condition_id)
        owner, sets = Place(operation.account, Pocket.FREE), sets_of(market.number)
        if operation.kind is SetKind.SPLIT:
            ledger.move(COLLATERAL, operation.up_units, source=ESCROW, target=sets)
            for outcome in Outcome:
                ledger.move(market.token(outcome), operation.up_units, source=OUTSIDE, target=owner)
        else:
            for asset, units in given_up(market, operation):
                ledger.move(asset, units, source=ESCROW, target=OUTSIDE)
            ledger.move(COLLATERAL, operation.paid_units, source=sets, target=owner)
        self._state.tell(SetChanged(self._state.now_ns, msgspec.structs.replace(operation, is_settled=True)))


def given_up(market: BinaryMarket, operation: SetOperation) -> tuple[tuple[str, int], ...]:
    """What an operation takes from its account, and has in escrow until it is settled."""
    if operation.kind is SetKind.SPLIT:
        return ((COLLATERAL, operation.up_units),)
    return (
        (market.token(Outcome.UP), operation.up_units),
        (market.token(Outcome.DOWN), operation.down_units),
    )
