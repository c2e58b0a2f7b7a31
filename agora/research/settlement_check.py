"""Whether settlement by one price reproduces what was published: the closing print against the price to beat.

Exact integers throughout; a tie is Up. Windows whose closing second has no print, or that have no price to beat, cannot
be recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agora.research.recorded_windows import Market, Tick


class SettlementCheck(NamedTuple):
    """How many windows could be recomputed, and which of those were published otherwise (their ends, Unix s)."""

    recomputed: int
    not_recomputed: int
    different: tuple[int, ...]

    @property
    def reproduced(self) -> int:
        """Windows whose recomputed outcome is the published one."""
        return self.recomputed - len(self.different)

    def sentence(self) -> str:
        """The count, for a report."""
        return (
            f"{self.reproduced} of {self.recomputed} published outcomes reproduced; "
            f"{self.not_recomputed} have no closing print or no price to beat"
        )


def check_settlement(markets: Sequence[Market], ticks: Sequence[Tick]) -> SettlementCheck:
    """Settle each market at the print stamped with its closing second and compare with what was published."""
    closes = {tick.ts_ms: tick.value for tick in ticks}
    different = []
    recomputed = 0
    for market in markets:
        close = closes.get(market.end_s * 1_000)
        if close is None or market.strike is None:
            continue
        recomputed += 1
        if (close >= market.strike) != market.is_up:
            different.append(market.end_s)
    return SettlementCheck(recomputed, len(markets) - recomputed, tuple(different))
