"""What each kind of agent does when it wakes: noise, momentum, value, market makers, splitters of large orders.

Internal to the population kernel. An agent decides from the shared words of the population, its own record, the touch
of the book and its account, and nothing else. It wishes for orders; the caller withdraws the old ones and sends the new
ones, so that the machine code of the exchange is compiled into one place. Only makers withdraw their quotes here.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.matching_layout import ASK_PRICE, BID_PRICE
from agora.kernels.population_draws import FRACTION_BITS, ONE, exp, exponential, normal, sign, square_root, uniform
from agora.kernels.population_layout import (
    CHILD_LOTS,
    FUNDAMENTAL,
    HALF_SPREAD,
    HOME_LOTS,
    LEAN,
    LOG_FAST,
    LOG_SLOW,
    LOTS_DONE,
    LOTS_LEFT,
    MAKER,
    MAKER_CAUTION,
    MAKER_ERROR,
    MAKER_LOTS,
    MAKER_SKEW,
    MARKET_SHARE,
    MOMENTUM,
    NOISE,
    NOW_TS,
    ORDER_LOTS,
    PARENT_CHANCE,
    PARENT_COLUMNS,
    PARENT_DONE_LOTS,
    PARENT_END,
    PARENT_ENDED_TS,
    PARENT_EXPONENT,
    PARENT_LOTS,
    PARENT_RING,
    PARENT_ROWS,
    PARENT_SIGN,
    PARENT_START,
    PARENT_STARTED_TS,
    PARENTS_DONE,
    RANDOM,
    REACH,
    RECENT_MOVE,
    SIDE_NOW,
    START_PRICE,
    START_TS,
    STRETCH,
    TRAIT,
    TREND_MIN,
    VALUE,
    VALUE_MARGIN,
    VALUE_URGENCY,
    WISH_COUNT,
    WISH_LOTS,
    WISH_PRICE,
    WISH_SIDE,
    WISH_WORDS,
    WISHES,
    agent_words,
    times,
    typed,
)
from agora.kernels.population_orders import (
    bounded,
    drawn_lots,
    keep_quote,
    log_mid,
    payable_lots,
    position_of,
    price_at,
    twice_mid,
)
from agora.kernels.settlement_layout import LOTS

_AT_MARKET = typed(0)
_BUY, _SELL = typed(1), typed(-1)
# A maker who is far from where its inventory began shifts its quotes by four half spreads and no further, or the
# crowd could push the price through it.
_SKEW_HALF_SPREADS = 4
# The largest parent is e**7, or 1,100 times, the smallest: with an exponent of 1.5 one of 36,000 would be larger.
_PARENT_RANGE = 7 * ONE


@compiled_inside
def wish(population: Words, side: int, price: int, lots: int) -> None:
    """Note an order that the agent at work wants sent; price 0 is at market."""
    at = WISHES + population[WISH_COUNT] * WISH_WORDS
    population[at + WISH_SIDE] = side
    population[at + WISH_PRICE] = price
    population[at + WISH_LOTS] = lots
    population[WISH_COUNT] += 1


@compiled_inside
def act_noise(population: Words, book: Words, accounts: Words, agent: int) -> None:
    """Wish for an order of random side, size and distance; a share of them trade at market.

    The density of limit orders rises linearly with the distance from the mid, up to REACH: the shape of latent
    liquidity that goes with a square-root impact (Toth and others 2011).
    """
    side = sign(population, RANDOM)
    lots = drawn_lots(population, population[ORDER_LOTS])
    price = _AT_MARKET
    if uniform(population, RANDOM) >= population[MARKET_SHARE]:
        depth = times(square_root(uniform(population, RANDOM) << FRACTION_BITS), population[REACH])
        distance = times(depth, population[STRETCH])
        price = price_at(population, log_mid(population, book) - side * distance, side)
    if payable_lots(population, book, accounts, agent, side, price) >= lots:
        wish(population, side, price, lots)


@compiled_inside
def act_momentum(population: Words, agent: int) -> None:
    """Trade at market with a trend: where the fast average is further from the slow one than the agent's patience."""
    trend = population[LOG_FAST] - population[LOG_SLOW]
    patience = times(times(population[TREND_MIN], population[STRETCH]), population[agent_words(agent) + TRAIT])
    if abs(trend) <= patience:
        return
    side = _BUY if trend > 0 else _SELL
    wish(population, side, _AT_MARKET, drawn_lots(population, population[ORDER_LOTS] // 2))


@compiled_inside
def act_value(population: Words, book: Words, agent: int) -> None:
    """Trade towards what the agent takes for the fundamental value, which it sees with an error of its own.

    Far from it at market, else by a limit order that leaves a margin and does not cross.
    """
    belief = population[FUNDAMENTAL] + population[agent_words(agent) + TRAIT]
    gap = belief - log_mid(population, book)
    side = _BUY if gap > 0 else _SELL
    margin = times(population[VALUE_MARGIN], population[STRETCH])
    lots = drawn_lots(population, population[ORDER_LOTS])
    if abs(gap) > times(margin, population[VALUE_URGENCY]):
        wish(population, side, _AT_MARKET, lots)
        return
    wish(population, side, inside_touch(book, price_at(population, belief - side * margin, side), side), lots)


@compiled_inside
def inside_touch(book: Words, price: int, side: int) -> int:
    """Return the price moved back, where needed, to the best one that does not trade at once."""
    if side > 0:
        return int(max(1, min(price, book[ASK_PRICE] - 1))) if book[ASK_PRICE] > 0 else price
    return int(max(price, book[BID_PRICE] + 1))


@compiled_inside
def act_maker(population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, agent: int) -> None:
    """Quote both sides around the fundamental value, leaning with the recent order flow and against inventory.

    The spread widens with recent moves. Quotes never cross: a maker takes nothing. A quote that still stands at the
    wanted price with half its lots is left in its place in the queue.
    """
    lots = population[MAKER_LOTS]
    at = agent_words(agent)
    gained = accounts[position_of(population, accounts, agent) + LOTS] - population[at + HOME_LOTS]
    furthest = _SKEW_HALF_SPREADS * population[HALF_SPREAD]
    # Inventory is counted in maker's orders; 2**16 of them are far beyond where the skew ends.
    orders = (max(-(1 << 38), min(1 << 38, gained)) << FRACTION_BITS) // lots
    orders = max(-ONE << 16, min(ONE << 16, orders))
    skew = max(-furthest, min(furthest, times(population[MAKER_SKEW], orders)))
    error = times(population[MAKER_ERROR], normal(population, RANDOM))
    centre = bounded(population[FUNDAMENTAL] + population[LEAN] - skew + error)
    caution = times(population[MAKER_CAUTION], population[RECENT_MOVE])
    half = times(population[HALF_SPREAD] + caution, population[at + TRAIT])
    quote(population, book, accounts, tape, out, agent, _BUY, price_at(population, centre - half, _BUY))
    quote(population, book, accounts, tape, out, agent, _SELL, price_at(population, centre + half, _SELL))


@compiled_inside
def quote(
    population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, agent: int, side: int, wanted: int
) -> None:
    """Bring one side of a maker's quotes to the wanted price, or the nearest that takes nothing."""
    if side > 0 and book[ASK_PRICE] == 1:
        return  # there is no price below the lowest
    price = inside_touch(book, wanted, side)
    lots = population[MAKER_LOTS]
    if not keep_quote(population, book, accounts, tape, out, agent, side, price, (lots + 1) // 2):
        wish(population, side, price, lots)


@compiled_inside
def act_splitter(population: Words, book: Words, accounts: Words, agent: int) -> None:
    """Work a large parent order child by child at market; without one, begin one now and then.

    Sizes of parents are Pareto distributed, from which the long memory of order signs follows (Lillo, Mike, Farmer
    2005). An agent that cannot pay for the drawn side takes the other one.
    """
    at = agent_words(agent)
    if population[at + LOTS_LEFT] == 0:
        if uniform(population, RANDOM) >= population[PARENT_CHANCE]:
            return
        begin_parent(population, book, accounts, agent)
    wish(population, population[at + SIDE_NOW], _AT_MARKET, min(population[at + LOTS_LEFT], population[CHILD_LOTS]))


@compiled_inside
def note_child(population: Words, book: Words, agent: int, traded: int) -> None:
    """Take what a splitter's child traded off its parent, and end a parent that is done."""
    at = agent_words(agent)
    population[at + LOTS_LEFT] -= traded
    population[at + LOTS_DONE] += traded
    # An empty purse ends a parent order early.
    if population[at + LOTS_LEFT] == 0 or traded == 0:
        end_parent(population, book, agent)


@compiled_inside
def begin_parent(population: Words, book: Words, accounts: Words, agent: int) -> None:
    """Draw side and size of a parent order and note where the price stands."""
    at = agent_words(agent)
    power = (exponential(population, RANDOM) << FRACTION_BITS) // population[PARENT_EXPONENT]
    lots = times(population[PARENT_LOTS], exp(min(power, _PARENT_RANGE)))
    side = sign(population, RANDOM)
    if payable_lots(population, book, accounts, agent, side, _AT_MARKET) < lots:
        side = -side
    population[at + SIDE_NOW] = side
    population[at + LOTS_LEFT] = lots
    population[at + LOTS_DONE] = 0
    population[at + START_PRICE] = twice_mid(book)
    population[at + START_TS] = population[NOW_TS]


@compiled_inside
def end_parent(population: Words, book: Words, agent: int) -> None:
    """Forget a parent order; one that traded is entered into the ring of the newest."""
    at = agent_words(agent)
    population[at + LOTS_LEFT] = 0
    if population[at + LOTS_DONE] == 0:
        return
    row = PARENT_RING + population[PARENTS_DONE] % PARENT_ROWS * PARENT_COLUMNS
    population[PARENTS_DONE] += 1
    population[row + PARENT_SIGN] = population[at + SIDE_NOW]
    population[row + PARENT_DONE_LOTS] = population[at + LOTS_DONE]
    population[row + PARENT_START] = population[at + START_PRICE]
    population[row + PARENT_END] = twice_mid(book)
    population[row + PARENT_STARTED_TS] = population[at + START_TS]
    population[row + PARENT_ENDED_TS] = population[NOW_TS]


@compiled_inside
def decide(population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, kind: int, agent: int) -> None:
    """Let an agent of a kind decide once; its wishes stand in the population afterwards."""
    population[WISH_COUNT] = 0
    if kind == NOISE:
        act_noise(population, book, accounts, agent)
    elif kind == MOMENTUM:
        act_momentum(population, agent)
    elif kind == VALUE:
        act_value(population, book, agent)
    elif kind == MAKER:
        act_maker(population, book, accounts, tape, out, agent)
    else:
        act_splitter(population, book, accounts, agent)
