"""One connected socket of the loopback Bitunix: what waits for its client, and how it is written.

What waits is bounded: a client that does not read is dropped with everything that waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec
from aiohttp import web

from agora.testnet.bitunix_world import TestAccount

MESSAGES_PER_S_MAX = 5
# Frames that wait for a client; a full book of one symbol a third of a second makes this half a minute.
WAITING_MAX = 1_000
WAITING_BYTES_MAX = 2**20
# A frame counts no more than this, or one that is made huge on purpose would end the connection it is meant for.
WEIGHT_MAX = WAITING_BYTES_MAX // 8
# A sliced frame goes in about so many pieces of at least so many bytes; they wait for a client that does not read.
SLICES, SLICE_BYTES = 512, 7
SLICES_WAITING_BYTES_MAX = 2**16
SLICES_WAIT_S = 0.01


class Outgoing(msgspec.Struct, frozen=True):
    """A frame on its way. `datum_ns`: when what it says was so at the venue (0: no market datum)."""

    content: str | bytes
    datum_ns: int = 0
    is_sliced: bool = False

    @property
    def weight(self) -> int:
        """What it counts among the bytes that wait for a client."""
        return min(len(self.content), WEIGHT_MAX)


class Client:
    """One connected socket. `kept`: frames that are held back on purpose, each by where it belongs."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, *, target: str, opened_s: int) -> None:
        self.socket = socket
        self.target = target
        self.opened_s = opened_s
        self.streams: dict[tuple[str, str], None] = {}
        # Streams of symbols that are not listed: they bring nothing, and count.
        self.empty_streams: dict[tuple[str, str], None] = {}
        self.account: TestAccount | None = None
        self.kept: dict[str, Outgoing] = {}
        self.heard_ns = 0
        self.sent_ns = 0
        self.has_spoken = False
        self._transport = request.transport
        self._waiting: deque[Outgoing] = deque()
        self._bytes = 0
        self._bell = asyncio.Event()
        self.messages: deque[int] = deque(maxlen=MESSAGES_PER_S_MAX + 1)

    def put(self, out: Outgoing) -> None:
        """A frame for this client; one that does not read is dropped with everything that waits for it."""
        self._bytes += out.weight
        self._waiting.append(out)
        if len(self._waiting) > WAITING_MAX or (self._bytes > WAITING_BYTES_MAX and len(self._waiting) > 1):
            self.abort()
        self._bell.set()

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return self._bytes

    async def next(self) -> Outgoing:
        """The next frame to send."""
        while not self._waiting:
            self._bell.clear()
            await self._bell.wait()
        out = self._waiting.popleft()
        self._bytes -= out.weight
        return out

    async def write(self, out: Outgoing) -> None:
        """Send it, whole or in pieces of a few bytes."""
        if isinstance(out.content, bytes):
            await self.socket.send_bytes(out.content)
        elif out.is_sliced:
            await self._write_slices(out.content.encode())
        else:
            await self.socket.send_str(out.content)

    async def _write_slices(self, payload: bytes) -> None:
        """A text frame of the protocol, written to the connection a few bytes at a time."""
        size = len(payload)
        if size < 126:
            header = bytes((0x81, size))
        else:
            header = bytes((0x81, 126)) + size.to_bytes(2) if size < 2**16 else bytes((0x81, 127)) + size.to_bytes(8)
        whole = header + payload
        step = max(SLICE_BYTES, len(whole) // SLICES)
        for at in range(0, len(whole), step):
            while self._unsent_bytes() > SLICES_WAITING_BYTES_MAX:  # noqa: ASYNC110  a transport has no event for it
                await asyncio.sleep(SLICES_WAIT_S)
            if self._transport is not None:
                self._transport.write(whole[at : at + step])
            await asyncio.sleep(0)

    def _unsent_bytes(self) -> int:
        """What the network has not taken yet."""
        transport = self._transport
        return 0 if transport is None or transport.is_closing() else transport.get_write_buffer_size()

    def close_politely(self) -> None:
        """End the connection with a close frame."""
        if self._transport is not None:
            self._transport.write(bytes((0x88, 0x02, 0x03, 0xE8)))
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection, without a word."""
        if self._transport is not None:
            self._transport.abort()
