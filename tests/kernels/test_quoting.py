"""The ladders of a pair maker: below the price of a set at every step, both or none, never crossing."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from agora.kernels import quoting
from agora.kernels.compiled import Words
from agora.kernels.quoting import DOWN, UP
from agora.traders.pair_maker_settings import QuoteSettings
from agora.traders.pair_rules import quote_rules, quote_terms, variance_per_s
from tests.kernels.interpreted import interpreted
from tests.kernels.quoting_twin import Bid, Rules, Scene, Twin

SETTINGS = QuoteSettings()

pytestmark = pytest.mark.requirement("P3.2")


class Maker:
    """The kernel with its buffers, asked about scenes."""

    def __init__(self, settings: QuoteSettings = SETTINGS, *, ticks: int = 100, lots_min: int = 500) -> None:
        self.terms = quote_terms(settings)
        self.rules = quote_rules(settings, ticks_per_unit=ticks, lots_min=lots_min)
        self.chase = np.zeros(quoting.CHASE_WORDS, dtype=np.int64)
        self.plan = np.zeros(quoting.PLAN_WORDS, dtype=np.int64)
        self.out = np.zeros((quoting.WANT_ROWS, quoting.WANT_COLUMNS), dtype=np.int64)

    def bids(self, scene: Scene) -> list[Bid]:
        """What is wanted."""
        sigma = math.sqrt(variance_per_s(scene.volatility))
        facts = facts_of(scene)
        count = quoting.quote(self.terms, self.rules, facts, sigma, scene.move_sd, self.chase, self.plan, self.out)
        return [Bid(*(int(word) for word in row)) for row in self.out[:count]]


def facts_of(scene: Scene) -> Words:
    """The integer words of a scene."""
    now_ns = scene.now_us * 1_000
    words = (scene.fair_ppm, *scene.touch, *scene.held, scene.room, *scene.caps, now_ns, now_ns + scene.left_us * 1_000)
    return np.array(words, dtype=np.int64)


def wanted(scene: Scene, *, ticks: int = 100) -> list[Bid]:
    """What a fresh maker with the shipped settings wants."""
    return Maker(ticks=ticks).bids(scene)


def target(scene: Scene) -> int:
    """The target total cost of a fresh maker, ppm."""
    maker = Maker()
    maker.bids(scene)
    return int(maker.plan[quoting.TARGET_PPM])


def fine(scene: Scene, *, ticks: int) -> Scene:
    """The same scene on a finer grid."""
    factor = ticks // 100
    return replace(
        scene,
        touch=tuple(price * factor for price in scene.touch),
        caps=tuple(price * factor for price in scene.caps),
    )


TYPICAL = Scene()


def test_a_typical_window_has_three_levels_on_both_tokens_at_the_best_bids() -> None:
    """Even odds, two cents of spread, a quarter of an hour, 45 %: 0.49 / 0.48 / 0.47 on both sides."""
    assert wanted(TYPICAL) == [
        Bid(token, ticks, 1_000, step) for step, ticks in enumerate((49, 48, 47)) for token in (UP, DOWN)
    ]
    assert target(TYPICAL) == 986_455


@pytest.mark.parametrize(
    "less, more",
    [
        (replace(TYPICAL, volatility=0.50), replace(TYPICAL, volatility=0.40)),
        (replace(TYPICAL, touch=(48, 51, 49, 52)), TYPICAL),
        (replace(TYPICAL, left_us=600_000_000), TYPICAL),
        (replace(TYPICAL, move_sd=1.2), replace(TYPICAL, move_sd=0.8)),
        (replace(TYPICAL, move_sd=-1.2), replace(TYPICAL, move_sd=-0.8)),
    ],
    ids=["volatility", "spread", "cutoff", "rise", "fall"],
)
def test_each_term_moves_the_target_at_shipped_settings(less: Scene, more: Scene) -> None:
    """A little more of any danger costs at least a fifth of a tick of a tenth of a cent, in the middle of its range."""
    assert target(less) <= target(more) - 200


@pytest.mark.parametrize("name, worst", [("volatility", 1.5), ("move_sd", 12.0), ("left_us", 10_000_000)])
def test_no_term_stands_still_even_far_out(name: str, worst: float) -> None:
    """At three times the usual volatility, in a crash, ten seconds before the cutoff: still a little more counts."""
    scene = replace(TYPICAL, **{name: worst})
    further = replace(TYPICAL, **{name: worst * (0.8 if name == "left_us" else 1.2)})
    further = replace(further, left_us=int(further.left_us))
    assert target(further) < target(scene)


def test_the_parts_of_the_target_are_recorded() -> None:
    """What each term took adds up to what is missing from one, for the record of the decision."""
    maker = Maker()
    maker.bids(replace(TYPICAL, move_sd=1.0))
    parts = [
        int(maker.plan[word])
        for word in (
            quoting.EDGE_PPM,
            quoting.VOLATILITY_PPM,
            quoting.SPREAD_PPM,
            quoting.CUTOFF_PPM,
            quoting.MOVE_PPM,
        )
    ]
    assert 10**6 - sum(parts) == maker.plan[quoting.TARGET_PPM]
    assert parts == [4_000, 5_000, 3_333, 1_212, 3_000]


@pytest.mark.parametrize(
    "scene, regime, levels, spacing",
    [
        (replace(TYPICAL, volatility=0.2), quoting.CALM, 4, 1),
        (TYPICAL, quoting.NORMAL, 3, 1),
        (replace(TYPICAL, volatility=0.8), quoting.NORMAL, 3, 2),
        (replace(TYPICAL, volatility=0.9), quoting.FAST, 2, 4),
        (replace(TYPICAL, move_sd=-4.5), quoting.FAST, 2, 2),
    ],
)
def test_levels_and_spacing_follow_volatility_and_regime(scene: Scene, regime: int, levels: int, spacing: int) -> None:
    """The wilder, the fewer and the farther apart; the plan says so."""
    maker = Maker()
    bids = [bid for bid in maker.bids(scene) if bid.token == UP]
    assert [maker.plan[word] for word in (quoting.REGIME, quoting.LEVELS, quoting.SPACING_TICKS)] == [
        regime,
        levels,
        spacing,
    ]
    assert len(bids) == levels
    assert {one.ticks - other.ticks for one, other in pairwise(bids)} == {spacing}


def test_a_finer_grid_gives_the_same_ladder_to_its_tick() -> None:
    """At a tick of 0.001 the best bids are 0.493 and the levels ten ticks apart."""
    bids = wanted(fine(TYPICAL, ticks=1_000), ticks=1_000)
    assert [bid.ticks for bid in bids if bid.token == UP] == [493, 483, 473]


def test_each_token_costs_at_most_its_share_of_the_target() -> None:
    """At 0.7 for Up the bids are 0.69 and 0.29: each below its own value times the target."""
    bids = wanted(replace(TYPICAL, fair_ppm=700_000, touch=(69, 71, 29, 31)))
    assert [(bid.token, bid.ticks) for bid in bids[:2]] == [(UP, 69), (DOWN, 29)]


# name, scene, reason
NONE_AT_ALL = [
    ("the cutoff has passed", replace(TYPICAL, left_us=0), quoting.PAST_CUTOFF),
    ("no room", replace(TYPICAL, room=499), quoting.NO_ROOM),
    ("one side would lie below the grid", replace(TYPICAL, fair_ppm=995_000, touch=(99, 0, 0, 1)), quoting.NO_PRICE),
    ("the ask leaves no price for one side", replace(TYPICAL, touch=(98, 99, 0, 1)), quoting.NO_PRICE),
    ("the missing leg has no price below its cap", replace(TYPICAL, held=(3_000, 0), caps=(0, 0)), quoting.ABOVE_CAP),
]


@pytest.mark.parametrize("scene, reason", [row[1:] for row in NONE_AT_ALL], ids=[row[0] for row in NONE_AT_ALL])
def test_where_one_side_cannot_be_quoted_there_is_none(scene: Scene, reason: int) -> None:
    """No single side is ever opened, and the plan says why."""
    maker = Maker()
    assert maker.bids(scene) == []
    assert maker.plan[quoting.REASON] == reason


def test_a_bid_stays_a_tick_below_the_ask() -> None:
    """When the market has fallen below our value, we join its lower side instead of taking it."""
    bids = wanted(replace(TYPICAL, touch=(43, 44, 55, 57)))
    assert max(bid.ticks for bid in bids if bid.token == UP) == 43


def test_a_fast_rise_is_followed_at_its_rate_only() -> None:
    """A value that jumps by eight cents is followed one cent a second on the rising token, at once on the falling."""
    maker = Maker()
    wide = replace(TYPICAL, touch=(30, 70, 30, 70))
    first = maker.bids(wide)[:2]
    path = []
    for second in range(1, 13):
        scene = replace(wide, fair_ppm=580_000, now_us=wide.now_us + second * 1_000_000)
        path.append([bid.ticks for bid in maker.bids(scene)[:2]])
    assert [bid.ticks for bid in first] == [49, 49]
    assert [up for up, _ in path[:5]] == [50, 51, 52, 53, 54]
    assert path[-1] == [56, 41]
    assert {down for _, down in path} == {41}


def test_frequent_calls_follow_as_fast_as_rare_ones() -> None:
    """Ten thousand calls within a second let a bid rise by the same cent as one call after it."""
    often, once = Maker(ticks=10_000), Maker(ticks=10_000)
    wide = fine(replace(TYPICAL, touch=(30, 70, 30, 70)), ticks=10_000)
    jumped = replace(wide, fair_ppm=600_000)
    for maker in (often, once):
        maker.bids(wide)
    for call in range(1, 10_001):
        found = often.bids(replace(jumped, now_us=wide.now_us + call * 100))
    expected = once.bids(replace(jumped, now_us=wide.now_us + 1_000_000))
    assert found == expected
    assert found[0].ticks == 4_903 + 100


def test_parts_of_a_microsecond_between_calls_are_not_lost() -> None:
    """A call every 1,700 ns for a millisecond lets a bid rise as far as one call at its end."""
    settings = QuoteSettings(rise_per_s=1.0)
    often, once = Maker(settings, ticks=10_000), Maker(settings, ticks=10_000)
    wide = fine(replace(TYPICAL, touch=(30, 70, 30, 70)), ticks=10_000)
    facts = facts_of(replace(wide, fair_ppm=600_000))
    sigma, start_ns = math.sqrt(variance_per_s(0.45)), int(facts[quoting.NOW_NS])
    for maker, calls in ((often, range(1, 601)), (once, (600,))):
        maker.bids(wide)
        for call in calls:
            facts[quoting.NOW_NS] = start_ns + call * 1_700
            quoting.quote(maker.terms, maker.rules, facts, sigma, 0.0, maker.chase, maker.plan, maker.out)
    assert once.plan[quoting.BEST_UP_TICKS] == 4_903 + 10
    assert often.plan.tolist() == once.plan.tolist()


def test_a_clock_that_steps_back_lets_nothing_rise() -> None:
    """Time that seems to run backwards is no time."""
    maker = Maker()
    maker.bids(TYPICAL)
    wide = replace(TYPICAL, fair_ppm=600_000, touch=(30, 70, 30, 70), now_us=TYPICAL.now_us - 5_000_000)
    assert maker.bids(wide)[0].ticks == 49


@pytest.mark.parametrize("excess, ticks", [(2_000, 52), (3_000, 54), (4_000, 56), (9_000, 56)])
def test_an_excess_leaves_only_the_missing_leg_priced_up_to_its_cap(excess: int, ticks: int) -> None:
    """From 20 shares on the excess side is dropped; the rest of the way to the cap is gone with 40."""
    bids = wanted(replace(TYPICAL, held=(excess, 0), caps=(99, 56), touch=(30, 70, 30, 70)))
    assert bids == [Bid(DOWN, ticks, excess)]


def test_the_missing_leg_never_costs_more_than_its_cap_nor_crosses() -> None:
    """A cap below the usual bid lowers it, and an ask below the cap bounds it."""
    low_cap = wanted(replace(TYPICAL, held=(0, 4_000), caps=(40, 99)))
    near_ask = wanted(replace(TYPICAL, held=(0, 4_000), caps=(90, 99)))
    assert (low_cap, near_ask) == ([Bid(UP, 40, 4_000)], [Bid(UP, 50, 4_000)])


def test_a_small_excess_is_made_good_on_the_first_level_of_the_other_side() -> None:
    """Three shares too many of Up: both ladders stand, Down asks for three more where it fills first."""
    bids = wanted(replace(TYPICAL, held=(1_300, 1_000)))
    assert [bid.lots for bid in bids] == [1_000, 1_300, 1_000, 1_000, 1_000, 1_000]


def test_ladders_end_where_the_room_does() -> None:
    """Room for 16 shares is one level and a smaller one; the rest below the smallest order is left."""
    bids = wanted(replace(TYPICAL, room=1_600))
    assert [(bid.step, bid.lots) for bid in bids] == [(0, 1_000), (0, 1_000), (1, 600), (1, 600)]
    bids = wanted(replace(TYPICAL, held=(0, 1_900), volatility=0.2))
    assert sum(bid.lots for bid in bids if bid.token == DOWN) == 5_000 - 1_900 - 100


@pytest.mark.parametrize("sigma, move, fair", [(math.nan, 0.0, 1), (1e-4, math.inf, 1), (1e-4, 0.0, 1_000_001)])
def test_impossible_statistics_are_refused(sigma: float, move: float, fair: int) -> None:
    """No ladder is made of a number that is none."""
    maker = Maker()
    facts = facts_of(replace(TYPICAL, fair_ppm=fair))
    with pytest.raises(ValueError, match="quotes need"):
        quoting.quote(maker.terms, maker.rules, facts, sigma, move, maker.chase, maker.plan, maker.out)


SCALES = (10, 100, 200, 400, 1_000, 10_000)


def random_scene(chance: random.Random, before: Scene, ticks: int) -> Scene:
    """A scene some moments later, with any touch, inventory, room and caps."""
    ask_up, ask_down = (chance.choice((0, chance.randrange(1, ticks))) for _ in range(2))
    bid_up, bid_down = (chance.randrange(0, ask or ticks) for ask in (ask_up, ask_down))
    return Scene(
        fair_ppm=min(10**6, max(0, before.fair_ppm + chance.choice((0, 1, -1, 40_000, -90_000, 200_000)))),
        touch=(bid_up, ask_up, bid_down, ask_down),
        held=(chance.choice((0, 300, 2_000, 7_777)), chance.choice((0, 0, 1_999, 5_000))),
        room=chance.choice((100_000, 100_000, 1_777, 499, 0)),
        caps=(chance.randrange(ticks), chance.randrange(ticks)),
        now_us=before.now_us + chance.choice((0, 1, 333, 250_000, 1_000_000, 7_000_000)),
        left_us=chance.choice((870_000_000, 100_000_000, 3_000_000, 0, -5)),
        volatility=chance.choice((0.0, 0.1, 0.44, 0.45, 0.9, 3.0)),
        move_sd=chance.choice((0.0, -0.7, 2.0, -4.0, 30.0)),
    )


@pytest.mark.parametrize("seed", range(30))
def test_ladders_are_those_of_the_twin_and_keep_every_rule(seed: int) -> None:
    """Any grid and sequence of scenes: equal to the plain twin, and no rule of a ladder is ever broken."""
    chance = random.Random(seed)
    ticks = SCALES[seed % len(SCALES)]
    maker, twin = Maker(ticks=ticks), Twin(Rules(ticks=ticks))
    scene = Scene()
    for _ in range(120):
        scene = random_scene(chance, scene, ticks)
        bids = maker.bids(scene)
        assert bids == twin.bids(scene)
        assert maker.plan[quoting.TARGET_PPM] == twin.target(scene) * 10**6
        check_rules(bids, scene, twin)


def check_rules(bids: list[Bid], scene: Scene, twin: Twin) -> None:
    """Post-only, on the grid, of a size the venue takes; both sides of a step together within the target."""
    for bid in bids:
        ask = scene.touch[2 * bid.token + 1]
        assert 1 <= bid.ticks <= twin.rules.ticks - 1
        assert not ask or bid.ticks < ask
        assert bid.lots >= 500
    excess = scene.held[UP] - scene.held[DOWN]
    if abs(excess) >= twin.rules.skew_from:
        assert [bid.token for bid in bids] in ([], [DOWN if excess > 0 else UP])
        assert all(bid.ticks <= scene.caps[bid.token] for bid in bids)
        return
    pairs = list(zip(bids[::2], bids[1::2], strict=True))
    for up, down in pairs:
        assert (up.token, down.token, up.step) == (UP, DOWN, down.step)
        assert Fraction(up.ticks + down.ticks, twin.rules.ticks) <= twin.target(scene)
    for token, sign in ((UP, 1), (DOWN, -1)):
        led_to = sign * excess + sum(bid.lots for bid in bids if bid.token == token)
        assert not bids or led_to <= twin.rules.unpaired_max


def digest_of_all() -> str:
    """The bits of many decisions."""
    digest = hashlib.sha256()
    for seed in range(12):
        chance = random.Random(seed)
        ticks = SCALES[seed % len(SCALES)]
        maker, scene = Maker(ticks=ticks), Scene()
        for _ in range(100):
            scene = random_scene(chance, scene, ticks)
            digest.update(repr(maker.bids(scene)).encode())
            digest.update(maker.plan.tobytes())
    return digest.hexdigest()


def test_compiled_and_interpreted_kernels_agree_to_the_last_bit() -> None:
    """Without the compiler the same scenes give the same bids and plans, so a replay may run either way."""
    assert interpreted(__name__) == digest_of_all()


def test_warming_up_compiles_the_signature_that_traders_call() -> None:
    """After it, a decision needs no further compilation."""
    quoting.warm_up()
    known = len(getattr(quoting.quote, "signatures", []))
    wanted(TYPICAL)
    assert len(getattr(quoting.quote, "signatures", [])) == known
