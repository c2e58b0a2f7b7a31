"""Both ends of a connection in memory: asyncio transports, and the pipes between them on the loop's timers."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
# What the two kernels between the ends of a real connection would hold before a writer must wait.
KERNEL_BYTES = 256 * 1024
HIGH_WATER_BYTES = 64 * 1024
LOW_WATER_BYTES = HIGH_WATER_BYTES // 4
# A read never gives more than this, as with a real transport.
READ_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How the network behaves by itself. `slice_chance`: how often a write arrives in two pieces."""

    latency_s: float = 0.000_2
    jitter_s: float = 0.000_3
    slice_chance: float = 0.0


class Air:
    """What all wires of a loop share: its timers and the draws of the weather."""

    def __init__(self, loop: asyncio.AbstractEventLoop, weather: Weather, *, seed: int) -> None:
        self.loop = loop
        self.weather = weather
        self.draw = random.Random(seed)

    def latency_s(self) -> float:
        """How long the next write takes."""
        return self.weather.latency_s + self.weather.jitter_s * self.draw.random()

    def slice_at(self, size: int) -> int:
        """Where a write of that size is cut in two; 0: nowhere."""
        chance = self.weather.slice_chance
        return self.draw.randrange(1, size) if chance and size > 1 and self.draw.random() < chance else 0


class _Mark:
    """What a pipe carries besides bytes."""


_END = _Mark()
_RESET = _Mark()


class End(asyncio.Transport):
    """One end of a connection: what a protocol writes into and is called back by."""

    def __init__(self, air: Air, *, address: str, context: contextvars.Context) -> None:
        super().__init__({"peername": (LOOPBACK, 0), "sockname": address})
        self.context = context
        self.outgoing = Pipe(air)
        self.incoming = Pipe(air)
        self._loop = air.loop
        self._protocol: Any = None
        self._high, self._low = HIGH_WATER_BYTES, LOW_WATER_BYTES
        self._is_paused = self._is_writing_paused = False
        self._is_closing = self._is_lost = self._is_losing = self._has_ended = False

    def attach(self, protocol: Any) -> None:
        """Begin: the protocol learns its transport."""
        self._protocol = protocol
        protocol.connection_made(self)
        self.incoming.open(self)

    # What asyncio asks of a transport.

    def set_protocol(self, protocol: Any) -> None:
        """Call another protocol back from now on."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """The protocol that is called back."""
        return self._protocol

    def is_closing(self) -> bool:
        """Whether this end is closing or closed."""
        return self._is_closing

    def is_reading(self) -> bool:
        """Whether what arrives is handed over."""
        return not self._is_closing and not self._is_paused

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Hand over what waits, soon."""
        if self._is_paused and not self._is_closing:
            self._is_paused = False
            self.incoming.arm()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; nothing of it is lost while both ends live."""
        if self._has_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._is_closing:
            return
        self.outgoing.push(bytes(data))
        if self.get_write_buffer_size() > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """Send several at once."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Half of a connection can be closed."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more comes from here; reading goes on."""
        if not self._is_closing and not self._has_ended:
            self._has_ended = True
            self.outgoing.push(_END)

    def get_write_buffer_size(self) -> int:
        """Bytes that no kernel has taken yet."""
        return max(0, self.outgoing.size_bytes - KERNEL_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Where writing is paused and resumed: (low, high)."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause writing above `high`, resume at `low`."""
        self._high = (HIGH_WATER_BYTES if low is None else 4 * low) if high is None else high
        self._low = self._high // 4 if low is None else low

    def close(self) -> None:
        """Close once everything written is with the kernel; it still arrives."""
        if self._is_closing:
            return
        self._is_closing = True
        if not self._has_ended:
            self.outgoing.push(_END)
        self.incoming.arm()  # What comes now finds nobody, and its sender is told.
        if not self.get_write_buffer_size():
            self._lose_soon(None)

    def abort(self) -> None:
        """Close at once; the other end sees a reset after what is already under way."""
        self._is_closing = True
        self.outgoing.push(_RESET)
        self._lose_soon(None)

    # What the network does to an end.

    def die(self, *, is_reset: bool) -> None:
        """Its process is gone: nothing more leaves; the kernel closes the connection for it."""
        if self._is_lost:
            return
        self.outgoing.push(_RESET if is_reset else _END)
        self.outgoing.seal()
        self._is_closing = True
        self._lose_soon(ConnectionResetError(errno.ECONNRESET, "the process was killed"))

    def take(self, item: bytes | _Mark) -> None:
        """Something has arrived."""
        if isinstance(item, bytes):
            if self._is_closing:
                self.outgoing.push(_RESET)  # Nobody reads here any more.
            else:
                self._protocol.data_received(item)
        elif item is _RESET:
            self._is_closing = True
            self._lose_soon(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        elif not self._is_closing and not self._protocol.eof_received():
            self.close()

    def drained(self) -> None:
        """The other side has read."""
        size = self.get_write_buffer_size()
        if self._is_closing and not size:
            self._lose_soon(None)
        elif self._is_writing_paused and size <= self._low and not self._is_lost:
            self._is_writing_paused = False
            self._protocol.resume_writing()

    def _lose_soon(self, fault: Exception | None) -> None:
        if not self._is_losing:
            self._is_losing = True
            self._loop.call_soon(self._lose, fault, context=self.context)

    def _lose(self, fault: Exception | None) -> None:
        self._is_lost = True
        if self._protocol is not None:
            self._protocol.connection_lost(fault)

    @property
    def is_lost(self) -> bool:
        """Whether the protocol was told that its connection is over."""
        return self._is_lost


class Pipe:
    """One direction of a connection: items in order, each after its latency; held ones wait."""

    __slots__ = (
        "_air",
        "_flight",
        "_is_held",
        "_is_sealed",
        "_reader",
        "_timer",
        "_written_s",
        "size_bytes",
        "writer",
    )

    def __init__(self, air: Air) -> None:
        self._air = air
        self._flight: deque[tuple[float, bytes | _Mark]] = deque()
        self._reader: End | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._written_s = 0.0
        self._is_held = self._is_sealed = False
        self.writer: End | None = None
        self.size_bytes = 0

    def open(self, reader: End) -> None:
        """Begin to hand over to this end."""
        self._reader = reader
        self.arm()

    def push(self, item: bytes | _Mark) -> None:
        """Send an item on its way."""
        if self._is_sealed:
            return
        if isinstance(item, bytes):
            self.size_bytes += len(item)
            cut = self._air.slice_at(len(item))
            if cut:
                self._put(item[:cut])
                item = item[cut:]
        elif item is _RESET:
            self._is_sealed = True
        self._put(item)
        if self._timer is None:
            self.arm()

    def _put(self, item: bytes | _Mark) -> None:
        self._written_s = max(self._written_s, self._air.loop.time() + self._air.latency_s())
        self._flight.append((self._written_s, item))

    def seal(self) -> None:
        """Nothing more is written here; what is under way arrives."""
        self._is_sealed = True

    def hold(self, is_held: bool) -> None:
        """A black hole begins or ends; afterwards everything arrives, late."""
        self._is_held = is_held
        self.arm()

    def arm(self) -> None:
        """Wait for the next arrival, if it can be taken."""
        reader = self._reader
        if self._timer is not None or reader is None or self._is_held or not self._flight:
            return
        if reader.is_reading() or reader.is_closing():
            self._timer = self._air.loop.call_at(self._flight[0][0], self._arrive, context=reader.context)

    def _arrive(self) -> None:
        self._timer = None
        reader, flight = self._reader, self._flight
        assert reader is not None
        now_s = self._air.loop.time() + 1e-9
        while flight and flight[0][0] <= now_s and not self._is_held and (reader.is_reading() or reader.is_closing()):
            item = flight.popleft()[1]
            if isinstance(item, bytes):
                self._deliver(reader, self._joined(item, now_s))
            elif not reader.is_lost:
                reader.take(item)
        self.arm()

    def _joined(self, item: bytes, now_s: float) -> bytes:
        """With whatever arrived at the same moment, as one read would give it."""
        flight, parts, size = self._flight, [item], len(item)
        while flight and flight[0][0] <= now_s and isinstance(flight[0][1], bytes) and size < READ_BYTES_MAX:
            part = flight.popleft()[1]
            assert isinstance(part, bytes)
            parts.append(part)
            size += len(part)
        return item if len(parts) == 1 else b"".join(parts)

    def _deliver(self, reader: End, data: bytes) -> None:
        self.size_bytes -= len(data)
        reader.take(data)
        writer = self.writer
        if writer is not None and (writer._is_writing_paused or writer._is_closing):
            self._air.loop.call_soon(writer.drained, context=writer.context)
