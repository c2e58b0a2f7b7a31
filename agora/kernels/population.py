"""A population of up to a million rule agents on one book: a market's background, stepped once a second.

One int64 buffer per asset is the whole state (`new_population`); money, orders and trades are those of the exchange
(`settlement`), where agent i trades with account `first_account + i`. Populations of several assets may share the
accounts. The kernel knows no clock: a step is a second of the market's time, and `now_ts` is handed in.

- All chance comes from the six random words handed in at the start, and all arithmetic is in integers: the same
  words give the same bits everywhere, compiled or not.
- Agents wake independently at the rates of their kind, all of them faster in active times. A step costs in
  proportion to those who wake, not to the number of agents; an agent costs 64 bytes.
- An agent has at most one resting order, a maker two: `orders_max` bounds what the book must hold.
- Trades of outsiders count: makers read the flow from the trade tape.
- The agents believe in a fundamental value, a random walk with a changing pace, rare jumps and a weak pull home;
  `shock` moves it from outside.
"""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.matching_layout import ASK_PRICE, BID_PRICE
from agora.kernels.population_agents import decide, note_child
from agora.kernels.population_draws import FRACTION_BITS, ONE, below, exp, exponential, normal, uniform
from agora.kernels.population_layout import (
    ACTIVITY_HALF_LIVES,
    ASSET,
    CROWD,
    FAST_STEPS,
    FLOW_DECAYS,
    FLOW_HALF_LIVES,
    FLOW_WEIGHTS,
    FLOWS,
    FUNDAMENTAL,
    FUNDAMENTAL_PULL,
    FUNDAMENTAL_STEP,
    HOME_LOTS,
    IMPACT,
    JUMP_CHANCE,
    JUMP_STEP,
    KINDS,
    LEAN,
    LOG_ACTIVITY,
    LOG_FAST,
    LOG_MID,
    LOG_PRICE_MAX,
    LOG_SLOW,
    MAKER,
    MAKER_NEXT,
    MAKERS_LEFT,
    MOVE_STEPS,
    NOISE,
    NOW_TS,
    ORDER_LOTS,
    ORDERS_REFUSED,
    ORDERS_SENT,
    PARENT_COLUMNS,
    PARENT_RING,
    PARENT_ROWS,
    PARENTS_DONE,
    RANDOM,
    RATE_SPREAD,
    RECENT_MOVE,
    SHOCK_DECAYS,
    SHOCK_STEPS,
    SHOCK_WEIGHTS,
    SHOCKS,
    SLOW_STEPS,
    SPLITTER,
    STARTS,
    STEPS,
    STRETCH,
    STRETCH_SPREAD,
    TAPE_SEEN,
    TIME_LEFT,
    VALUE,
    WAKE_RATES,
    WISH_COUNT,
    WISH_LOTS,
    WISH_PRICE,
    WISH_SIDE,
    WISH_WORDS,
    WISHES,
    PopulationPlan,
    agent_words,
    count_of,
    new_population,
    times,
)
from agora.kernels.population_orders import log_mid, position_of, send, twice_mid, withdraw
from agora.kernels.settlement_layout import (
    LOTS,
    TRADE_ASSET,
    TRADE_COUNT,
    TRADE_LOTS,
    TRADE_SIDE,
    TRADE_TAKER_ORDER,
)

__all__ = [
    "PARENT_COLUMNS",
    "STEP_COLUMNS",
    "STEP_LOTS",
    "STEP_ONE_SIDED",
    "STEP_SPREAD",
    "STEP_TWICE_MID",
    "PopulationPlan",
    "fundamental_ppm",
    "new_population",
    "orders_max",
    "orders_refused",
    "orders_sent",
    "parents_done",
    "population_run",
    "population_step",
    "shock",
]

# Columns of what `population_run` records of each step.
STEP_TWICE_MID, STEP_SPREAD, STEP_ONE_SIDED, STEP_LOTS = 0, 1, 2, 3
STEP_COLUMNS = 4

_ACTIVITIES, _FLOWS = len(ACTIVITY_HALF_LIVES), len(FLOW_HALF_LIVES)
# Three standard deviations: beyond, the rates would leave what a step can take.
_ACTIVITY_MAX = 3 * ONE
# In typical orders, of a step and of a memory: many times what the population trades in half an hour, and whatever
# an outsider does, a memory times a fraction stays below 2**61.
_FLOW_MAX = 4_096
# The quotes follow no flow further than 20 %.
_LEAN_MAX = ONE // 5
_HALF_BITS = FRACTION_BITS // 2
_PPM = 1_000_000
_SHOCK_PPM_MAX = 10 * _PPM


@compiled_inside
def fresh_flow(population: Words, accounts: Words, tape: Rows) -> int:
    """Return the signed lots traded by takers since the last step, as far as the tape still holds them."""
    count = accounts[TRADE_COUNT]
    flow = 0
    for number in range(max(population[TAPE_SEEN], count - tape.shape[0]), count):
        row = number % tape.shape[0]
        if tape[row, TRADE_ASSET] == population[ASSET]:
            flow += tape[row, TRADE_SIDE] * tape[row, TRADE_LOTS]
    population[TAPE_SEEN] = count
    return int(flow)


@compiled_inside
def remember_flow(population: Words, flow: int, pace: int) -> None:
    """Let makers lean with the flow: each typical order moves quotes by IMPACT at first, and fades like a power law."""
    most = _FLOW_MAX * population[ORDER_LOTS]
    orders = (max(-most, min(most, flow)) << FRACTION_BITS) // population[ORDER_LOTS]
    # A larger crowd trades more, and each of its orders says less.
    fresh = (orders << FRACTION_BITS) // population[CROWD]
    lean = 0
    for number in range(_FLOWS):
        memory = times(population[FLOWS + number], population[FLOW_DECAYS + number]) + fresh
        memory = max(-_FLOW_MAX * ONE, min(_FLOW_MAX * ONE, memory))
        population[FLOWS + number] = memory
        lean += times(memory, population[FLOW_WEIGHTS + number])
    lean = times(times(population[IMPACT], pace), lean)
    population[LEAN] = max(-_LEAN_MAX, min(_LEAN_MAX, lean))


@compiled_inside
def draw_activity(population: Words) -> int:
    """Move the activities on and return the logarithm of the present one: standard normal, with a long memory."""
    total = 0
    for number in range(_ACTIVITIES):
        fresh = times(population[SHOCK_STEPS + number], normal(population, RANDOM))
        kept = times(population[SHOCKS + number], population[SHOCK_DECAYS + number])
        population[SHOCKS + number] = kept + fresh
        total += times(population[SHOCKS + number], population[SHOCK_WEIGHTS + number])
    return max(-_ACTIVITY_MAX, min(_ACTIVITY_MAX, total))


@compiled_inside
def move_fundamental(population: Words, pace: int) -> None:
    """Let the fundamental value diffuse at the present pace, jump now and then, and be pulled home."""
    value = population[FUNDAMENTAL]
    value += times(times(population[FUNDAMENTAL_STEP], pace), normal(population, RANDOM))
    value -= times(population[FUNDAMENTAL_PULL], value)
    if uniform(population, RANDOM) < population[JUMP_CHANCE]:
        value += times(times(population[JUMP_STEP], pace), normal(population, RANDOM))
    population[FUNDAMENTAL] = max(-LOG_PRICE_MAX, min(LOG_PRICE_MAX, value))


@compiled_inside
def observe_mid(population: Words, book: Words) -> None:
    """Bring the averages of the price and of its recent moves up to date."""
    now = log_mid(population, book)
    if population[STEPS] == 0:
        population[LOG_FAST] = now
        population[LOG_SLOW] = now
        population[LOG_MID] = now
    move = abs(now - population[LOG_MID])
    population[LOG_MID] = now
    population[LOG_FAST] += (now - population[LOG_FAST]) // FAST_STEPS
    population[LOG_SLOW] += (now - population[LOG_SLOW]) // SLOW_STEPS
    population[RECENT_MOVE] += (move - population[RECENT_MOVE]) // MOVE_STEPS


@compiled_inside
def settle_in(population: Words, accounts: Words) -> None:
    """Before the first step: makers take what they own as the inventory to return to; old trades are not flow."""
    population[TAPE_SEEN] = accounts[TRADE_COUNT]
    for agent in range(population[STARTS + MAKER], population[STARTS + MAKER + 1]):
        population[agent_words(agent) + HOME_LOTS] = accounts[position_of(population, accounts, agent) + LOTS]


@compiled_inside
def wakes_per_step(population: Words, kind: int) -> int:
    """Return the expected wake-ups of a kind in a step; makers have their own turn."""
    if kind == MAKER:
        return 0
    return int(population[WAKE_RATES + kind] * count_of(population, kind))


@compiled_inside
def wakes_of_all(population: Words) -> int:
    """Return the expected wake-ups of all but the makers in a step."""
    total = 0
    for kind in range(KINDS):
        total += wakes_per_step(population, kind)
    return total


@compiled_inside
def open_step(population: Words, rate: int) -> None:
    """Prepare who wakes in this step: makers first, beginning at a random one, then the others.

    Wake-ups of many agents at constant rates are one stream with exponential gaps, `rate` times as dense as planned.
    """
    makers = count_of(population, MAKER)
    population[MAKERS_LEFT] = makers
    population[MAKER_NEXT] = below(population, RANDOM, makers) if makers > 0 else 0
    # Shifted beforehand, products fit 64 bits for the largest population.
    population[TIME_LEFT] = (wakes_of_all(population) >> _HALF_BITS) * rate >> _HALF_BITS


@compiled_inside
def next_maker(population: Words) -> int:
    """Return the next maker who wakes in this step, each with the chance of its rate; -1 when all had their turn."""
    makers = count_of(population, MAKER)
    while population[MAKERS_LEFT] > 0:
        agent = population[STARTS + MAKER] + population[MAKER_NEXT]
        population[MAKERS_LEFT] -= 1
        population[MAKER_NEXT] = (population[MAKER_NEXT] + 1) % makers
        if uniform(population, RANDOM) < population[WAKE_RATES + MAKER]:
            return int(agent)
    return -1


@compiled_inside
def next_other(population: Words) -> int:
    """Return who of the others wakes next in this step: a kind by its share of wake-ups, then anyone; or -1."""
    population[TIME_LEFT] -= exponential(population, RANDOM)
    if population[TIME_LEFT] < 0:
        return -1
    at = (wakes_of_all(population) >> _HALF_BITS) * uniform(population, RANDOM) >> _HALF_BITS
    kind = NOISE
    while at >= wakes_per_step(population, kind):
        at -= wakes_per_step(population, kind)
        kind += 1
    return int(population[STARTS + kind] + below(population, RANDOM, count_of(population, kind)))


@compiled_inside
def next_awake(population: Words) -> int:
    """Return who acts next in this step, makers first; -1 when the step is over."""
    agent = next_maker(population)
    return agent if agent >= 0 else next_other(population)


@compiled_inside
def kind_of(population: Words, agent: int) -> int:
    """Return the kind of an agent."""
    kind = NOISE
    while agent >= population[STARTS + kind + 1]:
        kind += 1
    return kind


@compiled_inside
def let_act(population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, agent: int) -> None:
    """Let an agent decide, and send what it wishes for. Noise and value agents have one order at a time."""
    kind = kind_of(population, agent)
    if kind == NOISE or kind == VALUE:  # noqa: PLR1714, SIM109  a set is slow here
        withdraw(population, book, accounts, tape, out, agent)
    decide(population, book, accounts, tape, out, kind, agent)
    for number in range(population[WISH_COUNT]):
        at = WISHES + number * WISH_WORDS
        side, price, lots = population[at + WISH_SIDE], population[at + WISH_PRICE], population[at + WISH_LOTS]
        traded = send(population, book, accounts, tape, out, agent, side, price, lots)
        if kind == SPLITTER:
            note_child(population, book, agent, traded)


@compiled
def population_step(population: Words, book: Words, accounts: Words, tape: Rows, out: Rows, now_ts: int) -> int:
    """Let a second pass for the population of one asset; return how many orders it sent.

    `book` is the asset's; `out` is room for the rows of any one exchange call and holds nothing of use afterwards:
    trades are on the `tape`. Accounts must have been opened, and may have any wealth: agents send what they can pay.
    """
    if population[STEPS] == 0:
        settle_in(population, accounts)
    sent = population[ORDERS_SENT]
    population[NOW_TS] = now_ts
    population[LOG_ACTIVITY] = draw_activity(population)
    pace = exp(times(population[LOG_ACTIVITY], population[STRETCH_SPREAD]))
    population[STRETCH] = exp(times(population[LOG_ACTIVITY], population[STRETCH_SPREAD]) // 2)
    remember_flow(population, fresh_flow(population, accounts, tape), pace)
    move_fundamental(population, pace)
    observe_mid(population, book)
    open_step(population, exp(times(population[LOG_ACTIVITY], population[RATE_SPREAD])))
    agent = next_awake(population)
    while agent >= 0:
        let_act(population, book, accounts, tape, out, agent)
        agent = next_awake(population)
    population[STEPS] += 1
    return int(population[ORDERS_SENT] - sent)


@compiled_inside
def record_trades(
    population: Words, accounts: Words, tape: Rows, seen: int, signs_out: Words, signs: int
) -> tuple[int, int]:
    """Add the sides of the orders that took since trade number `seen`; return how many there are now, and the lots."""
    lots = 0
    order = 0
    for number in range(max(seen, accounts[TRADE_COUNT] - tape.shape[0]), accounts[TRADE_COUNT]):
        row = number % tape.shape[0]
        if tape[row, TRADE_ASSET] != population[ASSET]:
            continue
        lots += tape[row, TRADE_LOTS]
        if tape[row, TRADE_TAKER_ORDER] != order and signs < signs_out.shape[0]:
            signs_out[signs] = tape[row, TRADE_SIDE]
            signs += 1
        order = tape[row, TRADE_TAKER_ORDER]
    return signs, lots


@compiled_inside
def record_parents(population: Words, seen: int, parents_out: Rows, parents: int) -> int:
    """Add the parent orders finished since number `seen`, as far as the ring holds them; return how many there are."""
    done = population[PARENTS_DONE]
    for number in range(max(seen, done - PARENT_ROWS), done):
        if parents < parents_out.shape[0]:
            row = PARENT_RING + number % PARENT_ROWS * PARENT_COLUMNS
            for column in range(PARENT_COLUMNS):
                parents_out[parents, column] = population[row + column]
            parents += 1
    return parents


@compiled
def population_run(
    population: Words,
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    first_ts: int,
    step_ns: int,
    steps_out: Rows,
    signs_out: Words,
    parents_out: Rows,
) -> tuple[int, int]:
    """Take a step for each row of `steps_out`, and record what statistics of a market need.

    A row of `steps_out` has STEP_COLUMNS values of the end of its step: bid plus ask (twice the last price where a
    side is empty), spread in ticks, whether a side is empty, lots traded in the step. `signs_out` takes the side of
    each order that took, `parents_out` rows of PARENT_COLUMNS: sign, lots, bid plus ask at the start and at the end,
    times of both. What finds no room there is left out. Returns how many signs and parents were written.
    """
    signs = 0
    parents = 0
    for step in range(steps_out.shape[0]):
        trades = accounts[TRADE_COUNT]
        done = population[PARENTS_DONE]
        population_step(population, book, accounts, tape, out, first_ts + step * step_ns)
        signs, lots = record_trades(population, accounts, tape, trades, signs_out, signs)
        parents = record_parents(population, done, parents_out, parents)
        bid, ask = book[BID_PRICE], book[ASK_PRICE]
        is_one_sided = bid == 0 or ask == 0
        steps_out[step, STEP_TWICE_MID] = twice_mid(book)
        steps_out[step, STEP_SPREAD] = 0 if is_one_sided else ask - bid
        steps_out[step, STEP_ONE_SIDED] = 1 if is_one_sided else 0
        steps_out[step, STEP_LOTS] = lots
    return signs, parents


@compiled
def shock(population: Words, move_ppm: int, excitement_ppm: int) -> None:
    """News from outside: move the fundamental value by parts per million (at most tenfold) and excite the agents.

    `excitement_ppm` adds that many millionths of a standard deviation to the activities with half-lives of 90 s and
    ten minutes: prices move more and orders come faster, then calm down.
    """
    move = max(-_SHOCK_PPM_MAX, min(_SHOCK_PPM_MAX, move_ppm)) * ONE // _PPM
    population[FUNDAMENTAL] = max(-LOG_PRICE_MAX, min(LOG_PRICE_MAX, population[FUNDAMENTAL] + move))
    excitement = max(-_SHOCK_PPM_MAX, min(_SHOCK_PPM_MAX, excitement_ppm)) * ONE // _PPM
    for number in (1, 2):
        population[SHOCKS + number] += excitement


def orders_max(population: Words) -> int:
    """How many orders the population rests at most: one each of noise and value agents, two each of makers."""
    counts = np.diff(population[STARTS : STARTS + KINDS + 1])
    return int(counts[NOISE] + counts[VALUE] + 2 * counts[MAKER])


def orders_sent(population: Words) -> int:
    """How many orders the population has sent so far."""
    return int(population[ORDERS_SENT])


def orders_refused(population: Words) -> int:
    """How many orders an agent could not pay or the exchange refused."""
    return int(population[ORDERS_REFUSED])


def parents_done(population: Words) -> int:
    """How many parent orders were finished so far."""
    return int(population[PARENTS_DONE])


def fundamental_ppm(population: Words) -> int:
    """The logarithm of the fundamental value over the listing price, in parts per million."""
    return int(population[FUNDAMENTAL] * _PPM >> FRACTION_BITS)
