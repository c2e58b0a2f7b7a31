"""The rules of an exchange of binary markets: terms of a window, and what holds for all of them. Knows no state."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agora.domain.numbers import NS_PER_MS, NS_PER_S, PPM, Rounding
from agora.exchange.binary_prices import PRICE_DECIMALS, UNIT, Fee, FeeBasis
from agora.exchange.requests import SelfTrade

# A trade a second for a day is 86,400: nothing of a day's testing is forgotten.
HISTORY_MAX = 100_000
# Nobody takes changes less often than once a second; this is minutes of the busiest market.
CHANGES_MAX = 200_000
# Windows of five minutes for a month.
MARKETS_MAX = 10_000


class BuyBudget(StrEnum):
    """Which leg of a taker's BUY says how much it buys; the other leg only says its limit price."""

    MAKER_AMOUNT = "maker_amount"
    TAKER_AMOUNT = "taker_amount"


class BinaryWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One market: the question whether a price is, at `end_ns`, at least what it was at `start_ns`.

    Orders are taken from `open_ns` until `end_ns`; the window may be created long before.
    """

    condition_id: str
    up_token: str
    down_token: str
    start_ns: int
    end_ns: int
    open_ns: int = 0
    slug: str = ""
    tick_points: int = 100
    size_min_units: Annotated[int, msgspec.Meta(ge=1)] = 5 * UNIT

    def __post_init__(self) -> None:
        """Refuse a window without time, with one token, or with a tick that the venue does not have."""
        if len({self.condition_id, self.up_token, self.down_token, ""}) != 4:
            raise ValueError(f"window {self.condition_id!r}: condition and tokens need three different names")
        if not self.open_ns <= self.start_ns < self.end_ns:
            raise ValueError(f"window {self.condition_id}: open {self.open_ns}, from {self.start_ns} to {self.end_ns}")
        if self.tick_points not in PRICE_DECIMALS:
            raise ValueError(f"window {self.condition_id}: a tick is one of {[*PRICE_DECIMALS]}: {self.tick_points}")


class BinaryRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all windows. The defaults are the venue's rules of autumn 2026.

    - `immediate_buy_budget` is for FAK and FOK, `resting_buy_budget` for GTC and GTD.
    - The venue's handling of two orders of one account, of the fee's rounding, and of FAK and FOK below the minimum
      size is not documented: `self_trade`, `fee_rounding`, `minimum_binds_immediate`.
    - A trade is MINED and CONFIRMED so long after it was matched, and again; of a million, `retry_ppm` first are
      RETRYING and `fail_ppm` end FAILED. Splits, merges and redemptions settle after `settlement_ns`.
    - A match is told as one trade for each price and at most `makers_per_trade_max` makers.
    """

    fee_rate_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM // 2)] = 70_000
    fee_exponent: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    fee_rounding: Rounding = Rounding.NEAREST
    fee_basis: FeeBasis = FeeBasis.PER_SHARE
    taker_delay_ns: Annotated[int, msgspec.Meta(ge=0)] = 150 * NS_PER_MS
    marketable_buy_min_units: int = UNIT
    minimum_binds_immediate: bool = False
    immediate_buy_budget: BuyBudget = BuyBudget.MAKER_AMOUNT
    resting_buy_budget: BuyBudget = BuyBudget.TAKER_AMOUNT
    self_trade: SelfTrade = SelfTrade.CANCEL_OLDEST
    expiration_ahead_ns: int = 180 * NS_PER_S
    expires_early_ns: int = 60 * NS_PER_S
    mined_ns: Annotated[int, msgspec.Meta(ge=0)] = NS_PER_S
    confirmed_ns: Annotated[int, msgspec.Meta(ge=0)] = 2 * NS_PER_S
    retry_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 0
    fail_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 0
    settlement_ns: Annotated[int, msgspec.Meta(ge=0)] = 2 * NS_PER_S
    makers_per_trade_max: Annotated[int, msgspec.Meta(ge=1)] = 20
    heartbeat_timeout_ns: int = 10 * NS_PER_S
    heartbeat_check_ns: Annotated[int, msgspec.Meta(ge=1)] = 5 * NS_PER_S
    post_only_after_restart_ns: int = 120 * NS_PER_S
    order_capacity: Annotated[int, msgspec.Meta(ge=1, le=2**16)] = 2**12
    account_capacity: Annotated[int, msgspec.Meta(ge=1, le=2**12)] = 2**9
    markets_max: Annotated[int, msgspec.Meta(ge=1)] = MARKETS_MAX
    history_max: Annotated[int, msgspec.Meta(ge=1)] = HISTORY_MAX
    changes_max: Annotated[int, msgspec.Meta(ge=1)] = CHANGES_MAX

    def __post_init__(self) -> None:
        """Refuse policies that dollar-bounded orders have no meaning for."""
        if self.self_trade not in {SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_NEWEST}:
            raise ValueError(f"self_trade is cancel_oldest or cancel_newest: {self.self_trade}")
        if self.retry_ppm + self.fail_ppm > PPM:
            raise ValueError(f"of a million trades {self.retry_ppm} retry and {self.fail_ppm} fail")

    @property
    def fee(self) -> Fee:
        """The fee of takers."""
        return Fee(self.fee_rate_ppm, self.fee_exponent, self.fee_rounding, self.fee_basis)
