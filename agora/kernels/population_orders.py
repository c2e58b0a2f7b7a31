"""How agents of a population reach the exchange: prices from logarithms, sizes they can pay, sending, withdrawing.

Internal to the population kernel. Knows no kinds of agents and no reasons for an order.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.matching_layout import (
    ASK_PRICE,
    BID_PRICE,
    CANCEL_OLDEST,
    CODE,
    FILL,
    FIRST_ORDER,
    IOC,
    LAST_PRICE,
    LIMIT,
    MARKET,
    NUMBER_MAX,
    ORDER_ID,
    OWNER_NEXT,
    OWNER_WORDS,
    OWNERS_START,
    PRICE,
    REJECTED,
    REMAINING,
    ROW_ORDER_ID,
    ROW_SIZE,
    SIDE,
)
from agora.kernels.matching_layout import GTC as GOOD_TILL_CANCELLED
from agora.kernels.population_draws import FRACTION_BITS, LN_2, exp, exponential, log2
from agora.kernels.population_layout import (
    ASSET,
    FIRST_ACCOUNT,
    LISTING_LOG2,
    LISTING_PRICE,
    LOG_PRICE_MAX,
    NOW_TS,
    ORDERS_REFUSED,
    ORDERS_SENT,
    RANDOM,
    times,
    typed,
)
from agora.kernels.settlement import exchange_cancel, exchange_cancel_all, exchange_submit
from agora.kernels.settlement_layout import (
    CURRENCY,
    LAST_ORDER_ID,
    LOTS,
    SELL_LOTS,
    asset_words,
    cash_words,
    position_words,
)
from agora.kernels.settlement_rules import free_cash, hold_per_lot

_LIMIT, _MARKET, _GTC, _IOC = typed(LIMIT), typed(MARKET), typed(GOOD_TILL_CANCELLED), typed(IOC)
_CANCEL_OLDEST, _NONE = typed(CANCEL_OLDEST), typed(0)

# A market buy walks the book: an agent keeps a quarter beyond the touch for that, or the exchange would refuse it.
_WALK_SHARE = 4


@compiled_inside
def twice_mid(book: Words) -> int:
    """Return bid plus ask; twice the last price where a side is empty."""
    if book[BID_PRICE] > 0 and book[ASK_PRICE] > 0:
        return int(book[BID_PRICE] + book[ASK_PRICE])
    return int(2 * book[LAST_PRICE])


@compiled_inside
def log_mid(population: Words, book: Words) -> int:
    """Return the natural logarithm of the mid price over the listing price."""
    return int((log2(twice_mid(book)) - population[LISTING_LOG2]) * LN_2 >> FRACTION_BITS)


@compiled_inside
def bounded(log_price: int) -> int:
    """Return a logarithm kept within what prices may become."""
    return max(-LOG_PRICE_MAX, min(LOG_PRICE_MAX, log_price))


@compiled_inside
def price_at(population: Words, log_price: int, side: int) -> int:
    """Return the price in ticks, at least 1, rounded against the sender's haste: down for a buy, up for a sell."""
    value = population[LISTING_PRICE] * exp(bounded(log_price))
    if side > 0:
        return max(1, int(value >> FRACTION_BITS))
    return max(1, int(-(-value >> FRACTION_BITS)))


@compiled_inside
def drawn_lots(population: Words, mean_lots: int) -> int:
    """Return an order's size: exponentially distributed around a mean, at least one lot."""
    return 1 + times(exponential(population, RANDOM), mean_lots)


@compiled_inside
def account_of(population: Words, agent: int) -> int:
    """Return the account with which an agent trades."""
    return int(population[FIRST_ACCOUNT] + agent)


@compiled_inside
def position_of(population: Words, accounts: Words, agent: int) -> int:
    """Return where an agent's position in the population's asset stands."""
    return position_words(accounts, account_of(population, agent), population[ASSET])


@compiled_inside
def payable_lots(population: Words, book: Words, accounts: Words, agent: int, side: int, price: int) -> int:
    """Return how much an agent can buy at a price (0: at market) with free cash, or sell of what no order holds."""
    position = position_of(population, accounts, agent)
    if side < 0:
        return int(max(0, accounts[position + LOTS] - accounts[position + SELL_LOTS]))
    at = asset_words(accounts, population[ASSET])
    cash = cash_words(accounts, account_of(population, agent), accounts[at + CURRENCY])
    touch = price
    if price == 0:
        touch = book[ASK_PRICE] + book[ASK_PRICE] // _WALK_SHARE
    if touch == 0:
        return 0
    return int(min(NUMBER_MAX, max(0, free_cash(accounts, cash)) // hold_per_lot(accounts, at, touch)))


@compiled_inside
def send(
    population: Words,
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    agent: int,
    side: int,
    price: int,
    lots: int,
) -> int:
    """Send a limit order, or at price 0 a market order, cut to what the agent can pay; return the lots it traded."""
    size = min(lots, payable_lots(population, book, accounts, agent, side, price))
    if size <= 0:
        population[ORDERS_REFUSED] += 1
        return 0
    population[ORDERS_SENT] += 1
    order_id = accounts[LAST_ORDER_ID] + 1
    n = exchange_submit(
        book,
        accounts,
        tape,
        out,
        population[ASSET],
        order_id,
        account_of(population, agent),
        side,
        _LIMIT if price > 0 else _MARKET,
        _GTC if price > 0 else _IOC,
        _NONE,
        price,
        _NONE,
        size,
        _NONE,
        _CANCEL_OLDEST,
        population[NOW_TS],
    )
    if out[0, CODE] == REJECTED:
        population[ORDERS_REFUSED] += 1
        return 0
    traded = 0
    for row in range(n):
        if out[row, CODE] == FILL and out[row, ROW_ORDER_ID] == order_id:
            traded += out[row, ROW_SIZE]
    return traded


@compiled_inside
def first_order(population: Words, book: Words, agent: int) -> int:
    """Return where the agent's oldest order stands in the book, or 0."""
    return int(book[book[OWNERS_START] + account_of(population, agent) * OWNER_WORDS + FIRST_ORDER])


@compiled_inside
def withdraw(population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, agent: int) -> None:
    """Cancel all orders of an agent."""
    if first_order(population, book, agent) != 0:
        exchange_cancel_all(book, accounts, tape, out, population[ASSET], account_of(population, agent))


@compiled_inside
def keep_quote(
    population: Words,
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    agent: int,
    side: int,
    price: int,
    lots_min: int,
) -> bool:
    """Cancel an agent's orders of one side but one at that price with enough lots; say whether one was kept."""
    is_kept = False
    order = first_order(population, book, agent)
    while order != 0:
        following = book[order + OWNER_NEXT]
        if book[order + SIDE] == side:
            if not is_kept and book[order + PRICE] == price and book[order + REMAINING] >= lots_min:
                is_kept = True
            else:
                account = account_of(population, agent)
                exchange_cancel(book, accounts, tape, out, population[ASSET], book[order + ORDER_ID], account)
        order = following
    return is_kept
