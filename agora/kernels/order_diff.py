"""What to cancel and what to place so that live orders become the wanted ones, with the least change.

An order that stands at a wanted price keeps its place in the queue while its size is near enough. Cancels go first,
and nothing is placed that would join an order still able to fill to a pair above the target.
"""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.quoting import PPM, WANT_COLUMNS, WANT_LOTS, WANT_STEP, WANT_TICKS, WANT_TOKEN

# Columns of a live bid, oldest first: the remaining size counts, and a cancel under way is not sent again.
LIVE_TOKEN, LIVE_TICKS, LIVE_LOTS, LIVE_CANCELLING = 0, 1, 2, 3
LIVE_COLUMNS = 4

# Words of `limits`.
SIZE_TOLERANCE_PPM = 0  # of the wanted size
LOTS_MIN = 1
CANCELS_MAX, PLACES_MAX = 2, 3  # what the venue's budget allows now
TOTAL_TICKS_MAX = 4  # the target of one Up and one Down
LIMITS_WORDS = 5

# Columns of the answer: the cancels (the row of the live order), then the placements.
DO_ROW = 0
DO_TOKEN, DO_TICKS, DO_LOTS = 0, 1, 2
DO_COLUMNS = 3

_KEPT, _LEFT_OVER, _CANCELLING = 1, 0, 2


def warm_up() -> None:
    """Compile everything here, or load it from the cache."""
    wanted, live = np.zeros((1, WANT_COLUMNS), dtype=np.int64), np.zeros((1, LIVE_COLUMNS), dtype=np.int64)
    diff(wanted, 0, live, 0, np.zeros(LIMITS_WORDS, dtype=np.int64), np.zeros((2, DO_COLUMNS), dtype=np.int64))


@compiled
def diff(
    wanted: Rows, wanted_count: int, live: Rows, live_count: int, limits: Words, out: Rows
) -> tuple[int, int, int]:
    """Write cancels and then placements; returns how many of each, and how many actions must wait for a later call.

    `out` needs a row for every live and every wanted order. While one cancel has to wait, all placements do. The
    placements of a step go together, so that a small budget opens no single side.
    """
    fates = np.zeros(live_count, dtype=np.int64)
    lacking = np.zeros(wanted_count, dtype=np.int64)
    for row in range(live_count):
        if live[row, LIVE_CANCELLING] != 0:
            fates[row] = _CANCELLING
    for row in range(wanted_count):
        lacking[row] = _keep(wanted[row], live, fates, limits)
    cancels, cancels_waiting = _write_cancels(wanted, wanted_count, live, fates, limits, out)
    places, lacks = 0, 0
    first = 0
    while first < wanted_count:
        after = first + 1
        while after < wanted_count and wanted[after, WANT_STEP] == wanted[first, WANT_STEP]:
            after += 1
        count = _lacking_count(lacking, first, after)
        lacks += count
        is_held = cancels_waiting > 0 or _joins_a_dear_pair(wanted, lacking, first, after, live, fates, limits)
        if not is_held and places + count <= limits[PLACES_MAX]:
            _write_places(wanted, lacking, first, after, out, cancels + places)
            places += count
        first = after
    return cancels, places, cancels_waiting + lacks - places


@compiled_inside
def _keep(want: Words, live: Rows, fates: Words, limits: Words) -> int:
    """Keep the live orders that together make up the wanted one, and return the lots to add (0: near enough)."""
    tolerance = want[WANT_LOTS] * limits[SIZE_TOLERANCE_PPM] // PPM
    kept = 0
    for row in range(len(fates)):
        is_there = live[row, LIVE_TOKEN] == want[WANT_TOKEN] and live[row, LIVE_TICKS] == want[WANT_TICKS]
        is_fitting = kept + live[row, LIVE_LOTS] <= want[WANT_LOTS] + tolerance
        if is_there and is_fitting and fates[row] == _LEFT_OVER:
            fates[row] = _KEPT
            kept += live[row, LIVE_LOTS]
    missing = want[WANT_LOTS] - kept
    # What is added joins the queue's end and what is there keeps its place, but the venue has a smallest order.
    return int(missing) if missing > tolerance and missing >= limits[LOTS_MIN] else 0


@compiled_inside
def _overpriced(wanted: Rows, wanted_count: int, live: Rows, row: int) -> int:
    """How far a live order stands above the best wanted of its token; of a token not wanted, all of its price."""
    best = 0
    for want in range(wanted_count):
        if wanted[want, WANT_TOKEN] == live[row, LIVE_TOKEN]:
            best = max(best, wanted[want, WANT_TICKS])
    return int(live[row, LIVE_TICKS] - best)


@compiled_inside
def _write_cancels(
    wanted: Rows, wanted_count: int, live: Rows, fates: Words, limits: Words, out: Rows
) -> tuple[int, int]:
    """Write the rows of orders that are not wanted, most overpriced first; returns how many go and how many wait."""
    count = 0
    for row in range(len(fates)):
        if fates[row] != _LEFT_OVER:
            continue
        place = count
        dear = _overpriced(wanted, wanted_count, live, row)
        while place > 0 and _overpriced(wanted, wanted_count, live, out[place - 1, DO_ROW]) < dear:
            out[place, DO_ROW] = out[place - 1, DO_ROW]
            place -= 1
        out[place, DO_ROW] = row
        count += 1
    sent = min(count, limits[CANCELS_MAX])
    return sent, count - sent


@compiled_inside
def _lacking_count(lacking: Words, first: int, after: int) -> int:
    count = 0
    for row in range(first, after):
        if lacking[row] > 0:
            count += 1
    return count


@compiled_inside
def _joins_a_dear_pair(
    wanted: Rows, lacking: Words, first: int, after: int, live: Rows, fates: Words, limits: Words
) -> bool:
    """Whether an order of the step would stand beside one of the other token that costs too much together with it.

    Only orders that are on their way out can: what is kept stands at a wanted price.
    """
    for want in range(first, after):
        for row in range(len(fates)):
            is_opposite = live[row, LIVE_TOKEN] != wanted[want, WANT_TOKEN]
            is_dear = live[row, LIVE_TICKS] + wanted[want, WANT_TICKS] > limits[TOTAL_TICKS_MAX]
            if lacking[want] > 0 and fates[row] != _KEPT and is_opposite and is_dear:
                return True
    return False


@compiled_inside
def _write_places(wanted: Rows, lacking: Words, first: int, after: int, out: Rows, at: int) -> None:
    for row in range(first, after):
        if lacking[row] > 0:
            out[at, DO_TOKEN], out[at, DO_TICKS] = wanted[row, WANT_TOKEN], wanted[row, WANT_TICKS]
            out[at, DO_LOTS] = lacking[row]
            at += 1
