"""How a stylised fact is judged and told: bands, errors, verdicts, rows.

Knows no statistic. Every row is hard: it can fail. WARN is said where the observations cannot decide, never instead
of a clear FAIL.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from agora.research.realism_statistics import Estimate

Band = tuple[float | None, float | None]

# With fewer minutes a tail of 2.5 % holds fewer than 25 returns and its exponent is off by a fifth.
MINUTES_MIN = 1_000
# What must be beyond chance: one false alarm in a thousand.
PROOF_SCORE = 3.09
# Outside a band by less than 1.645 errors is chance in one of twenty: undecided.
DOUBT_ERRORS = 1.645


class Verdict(StrEnum):
    """What a row says; WARN where the observations cannot decide."""

    PASS = "PASS"  # noqa: S105 a verdict, not a secret
    WARN = "WARN"
    FAIL = "FAIL"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One stylised fact. `value`, `error` and ends of the band are None where there is no such number."""

    name: str
    statistic: str
    value: float | None
    error: float | None = None
    n: int
    band: Band
    verdict: Verdict
    detail: str = ""


class Realism(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of a report and the worst of their verdicts."""

    verdict: Verdict
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of that name; raises `KeyError`."""
        found = {row.name: row for row in self.rows}
        return found[name]

    def names(self, verdict: Verdict) -> list[str]:
        """The names of the rows with that verdict."""
        return [row.name for row in self.rows if row.verdict is verdict]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """FAIL before WARN before PASS; PASS of nothing."""
    said = set(verdicts)
    return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in said), Verdict.PASS)


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A row before it has been judged."""

    name: str
    statistic: str
    band: Band
    n: int
    n_min: int

    def said(self, verdict: Verdict, detail: str, estimate: Estimate) -> Row:
        """The row with this verdict."""
        return Row(
            name=self.name,
            statistic=self.statistic,
            value=number_or_none(estimate.value),
            error=number_or_none(estimate.error) or None,
            n=self.n,
            band=self.band,
            verdict=verdict,
            detail=detail,
        )

    def judged(self, estimate: Estimate, detail: str) -> Row:
        """PASS inside the band, FAIL clearly outside, WARN where the observations or their error cannot tell.

        An error of 0 says that the band already allows for it.
        """
        if self.n < self.n_min:
            return self.said(Verdict.WARN, f"{self.n} observations, {self.n_min} are needed to judge", estimate)
        verdict, reason = self._decided(estimate)
        return self.said(verdict, "; ".join(part for part in (reason, detail) if part), estimate)

    def _decided(self, estimate: Estimate) -> tuple[Verdict, str]:
        if math.isnan(estimate.value):
            return Verdict.FAIL, "the statistic does not exist for this series"
        low = -math.inf if self.band[0] is None else self.band[0]
        high = math.inf if self.band[1] is None else self.band[1]
        outside = max(low - estimate.value, estimate.value - high)
        if outside <= 0:
            if not estimate.error <= (high - low) / 2:
                return Verdict.WARN, "inside the band, but its error is as wide as the band"
            return Verdict.PASS, ""
        if outside <= DOUBT_ERRORS * estimate.error:
            return Verdict.WARN, "outside the band by less than its error allows to tell"
        return Verdict.FAIL, "outside the band"


def number_or_none(value: float) -> float | None:
    """A number that JSON can hold, None for nan and infinities."""
    return float(value) if math.isfinite(value) else None
