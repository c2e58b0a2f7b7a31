"""The realism report: is this market like markets? Stylised facts, each with its statistic, band and verdict.

Names the facts in their order; what each is stands in `realism_returns` and `realism_trading`.
"""

from __future__ import annotations

from agora.research import realism_returns as returns
from agora.research import realism_trading as trading
from agora.research.realism_sample import MarketSample
from agora.research.realism_verdicts import Realism, worst


def judge(*samples: MarketSample) -> Realism:
    """The report on one market, seen in one or several stretches of time; no statistic straddles two of them."""
    clustering = returns.clustering(samples)
    rows = (
        returns.tail_exponent(samples),
        returns.kurtosis(samples),
        returns.aggregation(samples),
        returns.lag_1(samples),
        returns.lags_beyond(samples),
        clustering,
        returns.clustering_decay(samples, clustering),
        trading.sign_memory(samples),
        *trading.spread(samples),
        trading.one_sided(samples),
        trading.volume_volatility(samples),
        trading.impact(samples),
    )
    return Realism(verdict=worst(row.verdict for row in rows), rows=rows)
