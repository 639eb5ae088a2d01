"""A memory on the AXI channels of a component under test, in Amaranth's simulator, that checks the protocol."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from eightfold.hw import axi


class Bus:
    """A memory that answers in order, after `latency` cycles, and pauses with the probability `stalls`.

    Reads and writes that touch `bad` addresses are answered with an error.
    """

    def __init__(
        self,
        memory: bytearray,
        *,
        bus_bytes: int,
        latency: int = 1,
        stalls: float = 0.0,
        bad: range = range(0),
        seed: int = 0,
    ) -> None:
        self.memory = memory
        self.bus_bytes = bus_bytes
        self.latency = latency
        self.stalls = stalls
        self.bad = bad
        self.random = random.Random(seed)
        self.reads: list[tuple[int, int]] = []  # address and beats of every burst
        self.writes: list[tuple[int, int]] = []
        self.read_beat_cycles: list[int] = []
        self.write_beat_cycles: list[int] = []

    def _flows(self) -> bool:
        return self.random.random() >= self.stalls

    def _check_burst(self, address: int, beats: int) -> None:
        assert address % self.bus_bytes == 0
        last = address + beats * self.bus_bytes - 1
        assert address // axi.PAGE_BYTES == last // axi.PAGE_BYTES, f"burst at {address:#x} crosses a page"

    def _is_bad(self, address: int) -> bool:
        return any(byte in self.bad for byte in range(address, address + self.bus_bytes))

    def reader(self, port: Any) -> Callable[[Any], Any]:
        """A test bench that serves a port of `ReadChannels`."""

        async def process(ctx: Any) -> None:
            beats: deque[tuple[int, int, bool]] = deque()  # cycle from which on it may be answered, address, last
            held = None
            ctx.set(port.ar.ready, self._flows())
            now = 0
            async for _, _, *sample in ctx.tick().sample(
                port.ar.valid, port.ar.ready, port.ar.payload.as_value(), port.r.valid, port.r.ready
            ):
                ar_valid, ar_ready, burst, r_valid, r_ready = sample
                now += 1
                if held is not None:
                    assert (ar_valid, burst) == (1, held), "ARVALID or its payload changed before ARREADY"
                held = burst if ar_valid and not ar_ready else None
                if ar_valid and ar_ready:
                    address, length = burst & 0xFFFF_FFFF, burst >> 32
                    self._check_burst(address, length + 1)
                    self.reads.append((address, length + 1))
                    for beat in range(length + 1):
                        beats.append((now + self.latency, address + beat * self.bus_bytes, beat == length))
                if r_valid and r_ready:
                    self.read_beat_cycles.append(now)
                    r_valid = 0
                if not r_valid:
                    if beats and beats[0][0] <= now + 1 and self._flows():
                        _, address, last = beats.popleft()
                        value = int.from_bytes(self.memory[address : address + self.bus_bytes], "little")
                        ctx.set(port.r.payload.data, value)
                        ctx.set(port.r.payload.response, axi.SLVERR if self._is_bad(address) else axi.OKAY)
                        ctx.set(port.r.payload.last, last)
                        ctx.set(port.r.valid, 1)
                    else:
                        ctx.set(port.r.valid, 0)
                ctx.set(port.ar.ready, self._flows())

        return process

    def writer(self, port: Any) -> Callable[[Any], Any]:
        """A test bench that serves a port of `WriteChannels`."""

        async def process(ctx: Any) -> None:
            bursts: deque[tuple[int, int]] = deque()
            beats: deque[tuple[int, int, int]] = deque()
            answers: deque[tuple[int, int]] = deque()
            held_aw = held_w = None
            now = 0
            done = 0  # beats of the first burst
            ctx.set(port.aw.ready, self._flows())
            ctx.set(port.w.ready, self._flows())
            async for _, _, *sample in ctx.tick().sample(
                port.aw.valid, port.aw.ready, port.aw.payload.as_value(),
                port.w.valid, port.w.ready, port.w.payload.as_value(),
                port.b.valid, port.b.ready,
            ):  # fmt: skip
                aw_valid, aw_ready, burst, w_valid, w_ready, beat, b_valid, b_ready = sample
                now += 1
                if held_aw is not None:
                    assert (aw_valid, burst) == (1, held_aw), "AWVALID or its payload changed before AWREADY"
                if held_w is not None:
                    assert (w_valid, beat) == (1, held_w), "WVALID or its payload changed before WREADY"
                held_aw = burst if aw_valid and not aw_ready else None
                held_w = beat if w_valid and not w_ready else None
                if aw_valid and aw_ready:
                    address, length = burst & 0xFFFF_FFFF, burst >> 32
                    self._check_burst(address, length + 1)
                    self.writes.append((address, length + 1))
                    bursts.append((address, length + 1))
                if w_valid and w_ready:
                    self.write_beat_cycles.append(now)
                    bits = 8 * self.bus_bytes
                    beats.append(
                        (
                            beat & ((1 << bits) - 1),
                            beat >> bits & ((1 << self.bus_bytes) - 1),
                            beat >> (9 * self.bus_bytes),
                        )
                    )
                while bursts and beats:
                    address, length = bursts[0]
                    value, strobe, last = beats.popleft()
                    for lane in range(self.bus_bytes):
                        if strobe >> lane & 1:
                            self.memory[address + done * self.bus_bytes + lane] = value >> 8 * lane & 0xFF
                    done += 1
                    assert last == (done == length), "WLAST is not at the end of the burst"
                    if last:
                        failed = any(self._is_bad(address + n * self.bus_bytes) for n in range(length))
                        answers.append((now + self.latency, axi.SLVERR if failed else axi.OKAY))
                        bursts.popleft()
                        done = 0
                if b_valid and b_ready:
                    b_valid = 0
                if not b_valid:
                    if answers and answers[0][0] <= now + 1 and self._flows():
                        ctx.set(port.b.payload, answers.popleft()[1])
                        ctx.set(port.b.valid, 1)
                    else:
                        ctx.set(port.b.valid, 0)
                ctx.set(port.aw.ready, self._flows())
                ctx.set(port.w.ready, self._flows())

        return process


async def feed(ctx: Any, port: Any, values: Any, pause: Any = lambda: False) -> None:
    """Offers values to a stream, one after the other."""
    for value in values:
        while pause():
            await ctx.tick()
        ctx.set(port.payload, value)
        ctx.set(port.valid, 1)
        taken = False
        while not taken:
            _, _, taken = await ctx.tick().sample(port.ready)
        ctx.set(port.valid, 0)
