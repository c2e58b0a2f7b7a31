"""How much a provider lets us do in any minute: requests or tokens, handed out first come, first served.

A sliding window instead of a bucket that refills: a full bucket and its refill allow twice the limit in the first
minute, which providers with fixed windows answer with 429.
"""

from __future__ import annotations

from collections import deque

from agora.domain.numbers import NS_PER_S

WINDOW_NS = 60 * NS_PER_S


class Grant:
    """So much, from that time on."""

    __slots__ = ("amount", "ts_ns")

    def __init__(self, ts_ns: int, amount: int) -> None:
        self.ts_ns = ts_ns
        self.amount = amount


class Allowance:
    """At most `limit` in any 60 s (0: no limit). Memory: one record per grant of the last 60 s."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._grants: deque[Grant] = deque()
        self._used = 0

    def earliest_ns(self, amount: int, *, now_ns: int) -> int | None:
        """When so much could begin at the earliest, after everything granted before; None: never."""
        if not self._limit:
            return now_ns
        if amount > self._limit:
            return None
        self._forget(now_ns)
        start_ns = max(now_ns, self._grants[-1].ts_ns if self._grants else now_ns)
        used = self._used
        for grant in self._grants:
            if used + amount <= self._limit and grant.ts_ns + WINDOW_NS > start_ns:
                break
            used -= grant.amount
            start_ns = max(start_ns, grant.ts_ns + WINDOW_NS)
        return start_ns

    def grant(self, amount: int, *, start_ns: int) -> Grant:
        """Take so much from that time on, which `earliest_ns` gave."""
        granted = Grant(start_ns, amount)
        if self._limit:
            self._grants.append(granted)
            self._used += amount
        return granted

    def correct(self, granted: Grant, amount: int) -> None:
        """It turned out to be another amount (0: it was not used after all)."""
        if granted in self._grants:
            self._used += amount - granted.amount
        granted.amount = amount

    def _forget(self, now_ns: int) -> None:
        while self._grants and self._grants[0].ts_ns + WINDOW_NS <= now_ns:
            self._used -= self._grants.popleft().amount
