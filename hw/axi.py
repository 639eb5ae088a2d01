"""AXI: the channels as the engines see them, and the pins as a system integrator expects them.

Inside, a channel is a `lib.stream` that carries only what varies. At the top of the machine, `Pins` lists the ports of
the AMBA AXI4 and AXI4-Lite specifications (ARM IHI 0022) and ties them to the streams.

The master issues incrementing bursts of whole beats, with one ID, so that all answers come in order.
"""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

ADDRESS_BITS = 32
PAGE_BYTES = 4096
"""No burst crosses a multiple of this many bytes."""

OKAY = 0
SLVERR = 2

_INCREMENTING = 1
_BUFFERABLE = 0b0011  # normal memory, not cached
_UNPRIVILEGED = 0b000

BURST = data.StructLayout({"address": ADDRESS_BITS, "length": 8})
"""The address channels' payload: where a burst begins, and its beats less one."""


def read_beat(bus_bytes: int) -> data.StructLayout:
    """The read data channel's payload. `response` is 0 if all is well, and has bit 1 set on an error."""
    return data.StructLayout({"data": 8 * bus_bytes, "response": 2, "last": 1})


def write_beat(bus_bytes: int) -> data.StructLayout:
    """The write data channel's payload; one strobe per byte."""
    return data.StructLayout({"data": 8 * bus_bytes, "strobe": bus_bytes, "last": 1})


class ReadChannels(wiring.Signature):
    """A master's two read channels.

    Members
    -------
    ar : Out(stream)
        Bursts to read.
    r : In(stream)
        Their beats, in order.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__({"ar": Out(stream.Signature(BURST)), "r": In(stream.Signature(read_beat(bus_bytes)))})


class WriteChannels(wiring.Signature):
    """A master's three write channels.

    Members
    -------
    aw : Out(stream)
        Bursts to write.
    w : Out(stream)
        Their beats, in order.
    b : In(stream of 2-bit responses)
        One answer per burst, in order.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__(
            {
                "aw": Out(stream.Signature(BURST)),
                "w": Out(stream.Signature(write_beat(bus_bytes))),
                "b": In(stream.Signature(2)),
            }
        )


class LiteChannels(wiring.Signature):
    """A 32-bit AXI4-Lite master's five channels; protection is not passed on.

    Members
    -------
    aw, ar : Out(stream of addresses)
    w : Out(stream of data and strobe)
    b : In(stream of responses)
    r : In(stream of data and response)
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "aw": Out(stream.Signature(address_bits)),
                "w": Out(stream.Signature(data.StructLayout({"data": 32, "strobe": 4}))),
                "b": In(stream.Signature(2)),
                "ar": Out(stream.Signature(address_bits)),
                "r": In(stream.Signature(data.StructLayout({"data": 32, "response": 2}))),
            }
        )


def _address_pins(channel: str) -> dict[str, Any]:
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(ADDRESS_BITS),
        f"{channel}len": Out(8),
        f"{channel}size": Out(3),
        f"{channel}burst": Out(2),
        f"{channel}cache": Out(4),
        f"{channel}prot": Out(3),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }


def master_pins(prefix: str, bus_bytes: int) -> dict[str, Any]:
    """The members of a component with an AXI4 master port of that data width: `m_axi_araddr` and so on."""
    pins = {
        **_address_pins("aw"),
        "wdata": Out(8 * bus_bytes),
        "wstrb": Out(bus_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        **_address_pins("ar"),
        "rid": In(1),
        "rdata": In(8 * bus_bytes),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
    return {f"{prefix}_{name}": member for name, member in pins.items()}


def lite_slave_pins(prefix: str, address_bits: int) -> dict[str, Any]:
    """The members of a component with a 32-bit AXI4-Lite slave port: `s_axi_araddr` and so on."""
    pins = {
        "awaddr": In(address_bits),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(address_bits),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }
    return {f"{prefix}_{name}": member for name, member in pins.items()}


def connect_master(m: Module, top: Any, prefix: str, *, bus_bytes: int, read: Any, write: Any) -> None:
    """Drives the master pins of `top` from `read` and `write`, ports of `ReadChannels` and `WriteChannels`."""

    def pin(name: str) -> Any:
        return getattr(top, f"{prefix}_{name}")

    for channel, source in (("aw", write.aw), ("ar", read.ar)):
        m.d.comb += [
            pin(f"{channel}addr").eq(source.payload.address),
            pin(f"{channel}len").eq(source.payload.length),
            pin(f"{channel}size").eq((bus_bytes - 1).bit_length()),
            pin(f"{channel}burst").eq(_INCREMENTING),
            pin(f"{channel}cache").eq(_BUFFERABLE),
            pin(f"{channel}prot").eq(_UNPRIVILEGED),
            pin(f"{channel}valid").eq(source.valid),
            source.ready.eq(pin(f"{channel}ready")),
        ]
    m.d.comb += [
        pin("wdata").eq(write.w.payload.data),
        pin("wstrb").eq(write.w.payload.strobe),
        pin("wlast").eq(write.w.payload.last),
        pin("wvalid").eq(write.w.valid),
        write.w.ready.eq(pin("wready")),
        write.b.payload.eq(pin("bresp")),
        write.b.valid.eq(pin("bvalid")),
        pin("bready").eq(write.b.ready),
        read.r.payload.data.eq(pin("rdata")),
        read.r.payload.response.eq(pin("rresp")),
        read.r.payload.last.eq(pin("rlast")),
        read.r.valid.eq(pin("rvalid")),
        pin("rready").eq(read.r.ready),
    ]


def connect_lite_slave(m: Module, top: Any, prefix: str, *, slave: Any) -> None:
    """Ties the slave pins of `top` to `slave`, a port of flipped `LiteChannels`."""

    def pin(name: str) -> Any:
        return getattr(top, f"{prefix}_{name}")

    m.d.comb += [
        slave.w.payload.data.eq(pin("wdata")),
        slave.w.payload.strobe.eq(pin("wstrb")),
        pin("bresp").eq(slave.b.payload),
        pin("rdata").eq(slave.r.payload.data),
        pin("rresp").eq(slave.r.payload.response),
    ]
    for channel, port in (("aw", slave.aw), ("ar", slave.ar), ("w", slave.w)):
        m.d.comb += [port.valid.eq(pin(f"{channel}valid")), pin(f"{channel}ready").eq(port.ready)]
        if channel != "w":
            m.d.comb += port.payload.eq(pin(f"{channel}addr"))
    for channel, port in (("b", slave.b), ("r", slave.r)):
        m.d.comb += [pin(f"{channel}valid").eq(port.valid), port.ready.eq(pin(f"{channel}ready"))]
