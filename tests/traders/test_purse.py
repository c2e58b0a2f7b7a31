"""What an agent can pay for: exact holds, what they leave, and what a withdrawal is sure to give back."""

from __future__ import annotations

import msgspec
import pytest

from agora.domain.orders import Side
from agora.exchange.requests import OrderRequest
from agora.traders.purse import Purse, hold_per_lot_units
from tests.traders.agent_views import FIRST, MarketView, instrument, market, resting

TRADED = instrument(FIRST)  # a lot at 100.00 is 10**10 units; its fee of 0.01 % is 10**6
HOLD = 10_001_000_000


def order(side: Side, lots: int, *, price: int = 10_000) -> OrderRequest:
    """A limit order in the first asset."""
    return OrderRequest(symbol=FIRST, side=side, size_lots=lots, price_ticks=price)


def purse_of(cash_units: int, *, position: int = 0, average: float = 0.0, shorting: bool = False) -> Purse:
    """The purse of an account without orders."""
    view = market(position=position, average=average)
    view.cash_units, view.shorting = cash_units, shorting
    return Purse(view)


@pytest.mark.parametrize(
    "price,hold",
    [(10_000, HOLD), (1, 1_000_100), (3, 3_000_300), (9_999, 9_999_999_900)],
)
def test_a_hold_is_the_price_and_the_dearer_fee_rounded_up(price: int, hold: int) -> None:
    """Per lot; a fraction of a unit counts as one."""
    assert hold_per_lot_units(TRADED, price) == hold
    odd = msgspec.structs.replace(TRADED, maker_fee_ppm=333, taker_fee_ppm=1, lot_size="0.000001")
    assert hold_per_lot_units(odd, 1) == 2


@pytest.mark.parametrize(
    "cash,lots", [(0, 0), (HOLD - 1, 0), (HOLD, 1), (5 * HOLD - 1, 4), (5 * HOLD, 5), (-7, 0), (10**19, 10_000_000)]
)
def test_cash_buys_whole_holds_and_no_more_than_an_order_may_have(cash: int, lots: int) -> None:
    """To the unit."""
    assert purse_of(cash).buyable_lots(TRADED, 10_000) == lots


def test_what_is_spent_is_gone() -> None:
    """Orders of one decision share the cash and the units in their order."""
    purse = purse_of(5 * HOLD, position=7)
    purse.spend(TRADED, order(Side.BUY, 2))
    assert purse.buyable_lots(TRADED, 10_000) == 3
    purse.spend(TRADED, order(Side.SELL, 4))
    assert purse.sellable_lots(TRADED, 10_000) == 3
    assert purse.buyable_lots(TRADED, 10_000) == 3


def test_a_short_sale_takes_twice_its_hold_in_cash() -> None:
    """Only where it is allowed, and only for what is not owned."""
    assert purse_of(9 * HOLD, position=2).sellable_lots(TRADED, 10_000, shorts=True) == 2
    purse = purse_of(9 * HOLD, position=2, shorting=True)
    assert purse.sellable_lots(TRADED, 10_000) == 2
    assert purse.sellable_lots(TRADED, 10_000, shorts=True) == 6
    purse.spend(TRADED, order(Side.SELL, 4))
    assert purse.sellable_lots(TRADED, 10_000, shorts=True) == 2
    assert purse.buyable_lots(TRADED, 10_000) == 5


def test_a_short_position_is_bought_back_from_its_own_proceeds() -> None:
    """At or below the price it was sold at, buying back needs no cash; above, only the difference; once only."""
    purse = purse_of(0, position=-5, average=10_100.0, shorting=True)
    assert purse.buyable_lots(TRADED, 10_000) == 5
    purse.spend(TRADED, order(Side.BUY, 3))
    assert purse.buyable_lots(TRADED, 10_000) == 2
    dear = purse_of(3 * 1_000_000, position=-5, average=10_000.0, shorting=True)
    assert dear.buyable_lots(TRADED, 10_000) == 3, "the fee alone is missing, a million units per lot"
    dear.spend(TRADED, order(Side.BUY, 3))
    assert dear.buyable_lots(TRADED, 10_000) == 0


def test_resting_bids_of_a_short_position_have_used_its_cover() -> None:
    """What already waits to buy back is not counted again."""
    view = market(position=-5, average=10_100.0)
    view.cash_units = 0
    view.assets[FIRST].orders = [resting(1, Side.BUY, 9_000, lots=4)]
    view.cash_units = 4 * hold_per_lot_units(TRADED, 9_000)
    assert Purse(view).buyable_lots(TRADED, 10_000) == 1


def released(view: MarketView) -> tuple[int, int]:
    """What can be bought and sold after all orders of the first asset are called back."""
    purse = Purse(view)
    for standing in view.open_orders(FIRST):
        purse.release(TRADED, standing)
    return purse.buyable_lots(TRADED, 10_000), purse.sellable_lots(TRADED, 10_000)


def test_a_withdrawal_gives_back_what_was_held() -> None:
    """A bid its cash, an offer its units; an offer that was a short sale, none; a waiting stop, nothing."""
    view = market(position=3)
    view.cash_units = 4 * HOLD
    view.assets[FIRST].orders = [resting(1, Side.BUY, 10_000, lots=4), resting(2, Side.SELL, 10_100, lots=3)]
    assert Purse(view).buyable_lots(TRADED, 10_000) == 0
    assert released(view) == (4, 3)
    view.assets[FIRST].orders = [resting(2, Side.SELL, 10_100, lots=9)]
    assert released(view) == (4, 3)
    stop = msgspec.structs.replace(resting(3, Side.BUY, 10_000, lots=50), trigger_ticks=11_000)
    purse = Purse(view)
    purse.release(TRADED, stop)
    assert purse.buyable_lots(TRADED, 10_000) == 4
