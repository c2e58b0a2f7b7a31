"""The indicators of every instrument that a trader is shown, kept as one buffer each."""

from __future__ import annotations

from agora.domain.events import MarketCandle
from agora.kernels import indicators
from agora.kernels.indicators import Figures


class Charts:
    """Buffers of equal lengths (in bars), one per instrument seen, each of a size that never grows."""

    def __init__(self, *, fast_bars: int, slow_bars: int, atr_bars: int, swing_bars: int) -> None:
        self._empty = indicators.create(
            fast_bars=fast_bars, slow_bars=slow_bars, atr_bars=atr_bars, swing_bars=swing_bars
        )
        self._buffers: dict[str, Figures] = {}

    def take(self, candle: MarketCandle) -> list[float]:
        """Take in a closed bar; the figures after it, read by the index names of `kernels.indicators`."""
        buffer = self._buffers.get(candle.instrument)
        if buffer is None:
            buffer = self._buffers[candle.instrument] = self._empty.copy()
        indicators.update(
            buffer,
            float(candle.open_ticks),
            float(candle.high_ticks),
            float(candle.low_ticks),
            float(candle.close_ticks),
            float(candle.volume_lots),
            candle.ts_ns,
        )
        figures: list[float] = buffer[: indicators.FIGURE_WORDS].tolist()
        return figures

    def snapshot(self) -> dict[str, list[float]]:
        """The whole buffers, as JSON values."""
        return {symbol: buffer.tolist() for symbol, buffer in self._buffers.items()}

    def restore(self, memory: dict[str, list[float]]) -> None:
        """Continue from a snapshot; raises `ValueError` when it was made with other lengths."""
        self._buffers = {symbol: indicators.restored(self._empty, words) for symbol, words in memory.items()}
