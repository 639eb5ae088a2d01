"""Verilog text from Amaranth, in a form that people read and event-driven simulators run quickly.

Yosys writes one process for each register and one wire for each multiplexer before it. A simulator like Icarus Verilog
wakes every process in every cycle and evaluates every wire, used or not. Here each module gets one process for all its
registers, and the conditions under which a register keeps its value become `if`s around its assignment. On the 16x16
array that is five times as fast to simulate, and the text says what the Amaranth source says.
"""

import gc
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.hdl import MemoryData, MemoryInstance, Shape

_NAME = r"(?:\\\S+ |[A-Za-z_]\w*)"
_DECLARATION = re.compile(rf"^  (?:input|output|reg|wire) ?(\[\d+:0\])? ?({_NAME})\s*(?:=.*)?;$", re.M)
_ASSIGN = re.compile(rf"^  assign ({_NAME})\s*= (.*);\n", re.M)
_WIRE = re.compile(rf"^  wire (?:\[\d+:0\] )?({_NAME})\s*;\n", re.M)
_REGISTER = re.compile(rf"^  always @\(posedge clk\)\n    ({_NAME})\s*<= (.*);\n", re.M)
_MEMORY = re.compile(rf"^  reg \[(\d+):0\] ({_NAME}) ?\[(\d+):0\];\n", re.M)
_EMPTY = re.compile(r"^  cell \$meminit_v2 \S+\n(?:    .*\n)*?    connect \\DATA \{ +\}\n(?:    .*\n)*?  end\n", re.M)
_REPEATED = re.compile(r"(?<=[{,] )([^\s,{}]+ ?)(?:, \1){2,}(?= ?[,}])")
_BITWISE = re.compile(rf"(?:{_NAME}|\d+'[hd]\w+|\[\d+(?::\d+)?\]|[\s~&|^?:{{}},])+")
_OPERAND = re.compile(rf"({_NAME})(?!\s*\[)")
_CHOICE = re.compile(rf"({_NAME})\s*\? (.*) : (.*)")


def convert(component: Any, *, name: str) -> str:
    """The component as Verilog: the same text at every call, without paths or dates.

    Parameters
    ----------
    component
        An Amaranth component; its members become ports.
    name
        The top module's name.
    """
    with _uncollected():
        text = _EMPTY.sub("", rtlil.convert(component, name=name, platform=_Platform(), emit_src=False))
    script = (
        f"read_rtlil <<rtlil\n{text}\nrtlil\n"
        "proc -norom\nopt_expr\nwreduce\nopt_clean\nmemory_collect\n"
        "attrmap -remove src -remove generator -remove unused_bits -remove top\n"
        "attrmap -modattr -remove src -remove generator -remove top\n"
        "write_verilog -norename"
    )
    with _builtin_yosys():
        yosys = find_yosys(lambda version: version >= (0, 40))
        verilog: str = yosys.run(["-q", "-"], script, ignore_warnings=True)
    # Multiplexers become functions, and Icarus takes a function whose name begins with $ for one of its own.
    verilog = re.sub(r"\\\$procmux\$(\w+) ", r"procmux_\1 ", verilog)
    verilog = _MEMORY.sub(_clear, verilog)
    verilog = "".join(_gather_registers(module) for module in re.split(r"(?=^module )", verilog, flags=re.M))
    # A sign's extension is a bit many times over, each of which Icarus would select for itself.
    return _REPEATED.sub(lambda match: f"{{{match[0].count(',') + 1}{{{match[1]}}}}}", verilog)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would take a third of the time to find that all objects are in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _builtin_yosys() -> Iterator[None]:
    """The Yosys that Amaranth's extra installs: whatever else is on the path may write other text."""
    before = os.environ.get("AMARANTH_USE_YOSYS")
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    try:
        yield
    finally:
        if before is None:
            del os.environ["AMARANTH_USE_YOSYS"]
        else:
            os.environ["AMARANTH_USE_YOSYS"] = before


class _Platform:
    """Amaranth asks a platform for memories. Here they have no content: to write that of a few hundred KiB, all zeros,
    takes Amaranth and Yosys longer than all else, and most of it would be the text."""

    def get_memory(self, memory: Any) -> MemoryInstance:
        """What `amaranth.lib.memory.Memory` becomes."""
        if any(memory.init):
            raise ValueError(f"a memory of {memory.depth} words has content; one of zeros was expected")
        data = MemoryData(shape=Shape.cast(memory.shape), depth=memory.depth, init=[])
        data.init._raw = []
        instance = MemoryInstance(data=data, attrs=memory.attrs, src_loc=memory.src_loc)
        written = {
            port: instance.write_port(domain=port.domain, addr=port.addr, data=port.data, en=port.en)
            for port in memory.write_ports
        }
        for port in memory.read_ports:
            transparent_for = tuple(written[other] for other in port.transparent_for)
            ports = {"data": port.data, "addr": port.addr, "en": port.en}
            instance.read_port(domain=port.domain, **ports, transparent_for=transparent_for)
        return instance


def _clear(match: re.Match[str]) -> str:
    """A memory's declaration, and a loop that clears it in simulators. Synthesis leaves it as it comes: not every
    memory of an FPGA can have content, and nothing reads what was never written."""
    top, memory, last = match.groups()
    return (
        f"{match[0]}"
        "`ifndef SYNTHESIS\n"
        f"  initial begin : clear_{re.sub(r'[^a-zA-Z0-9_]', '_', memory.strip())}\n"
        "    integer i;\n"
        f"    for (i = 0; i < {int(last) + 1}; i = i + 1) {memory}[i] = {int(top) + 1}'d0;\n"
        "  end\n"
        "`endif\n"
    )


class _Update(NamedTuple):
    """`if (conditions) register <= value;`"""

    conditions: tuple[str, ...]
    register: str
    value: str


def _gather_registers(module: str) -> str:
    """The module's text with all its registers in one process."""
    widths = {name.strip(): width for width, name in _DECLARATION.findall(module)}
    wires = {name.strip(): value.strip() for name, value in _ASSIGN.findall(module)}
    mentions = Counter(name.strip() for name in re.findall(_NAME, module))
    absorbed = set()

    def update(register: str, value: str) -> _Update:
        conditions: list[str] = []
        # A wire that only this register uses is declared, assigned and read: three mentions.
        while value in wires and mentions[value] == 3 and widths.get(value) == widths.get(register):
            absorbed.add(value)
            value = wires[value]
            choice = _CHOICE.fullmatch(value)
            if choice is None:
                break
            condition, yes, no = (part.strip() for part in choice.groups())
            if yes == register and "?" not in no:
                conditions.append(f"!{condition} ")
                value = no
            elif no == register and "?" not in yes:
                conditions.append(f"{condition} ")
                value = yes
            else:
                break
        return _Update(tuple(conditions), register, inlined(value, widths.get(register)))

    def inlined(value: str, width: str | None) -> str:
        """The value with the wires that only it uses written out, so that they are evaluated when it is.

        It leaves all that has a sign or another width, on which an operator's operands depend in Verilog.
        """
        value += " "  # with which an escaped name ends
        if not _BITWISE.fullmatch(value):
            return value

        def operand(match: re.Match[str]) -> str:
            wire = match[1].strip()
            if mentions[wire] != 3 or widths.get(wire) != width or not _BITWISE.fullmatch(wires.get(wire, "+") + " "):
                return match[0]
            absorbed.add(wire)
            return f"({inlined(wires[wire], width)})"

        parts = re.split(r"(\{[^{}]*\})", value)  # a concatenation's parts have widths of their own
        return "".join(part if part.startswith("{") else _OPERAND.sub(operand, part) for part in parts)

    updates = [update(name.strip(), value.strip()) for name, value in _REGISTER.findall(module)]
    if not updates:
        return module
    module = _REGISTER.sub("", module)
    for pattern in (_ASSIGN, _WIRE):
        module = pattern.sub(lambda match: "" if match[1].strip() in absorbed else match[0], module)
    body = module.rindex("endmodule")
    process = "  always @(posedge clk) begin\n" + "".join(_process(updates, 2)) + "  end\n"
    return module[:body] + process + module[body:]


def _process(updates: list[_Update], depth: int) -> Iterator[str]:
    """Assignments, those under a common condition together."""
    indent = "  " * depth
    guarded: dict[str, list[_Update]] = {}
    for conditions, register, value in updates:
        if conditions:
            guarded.setdefault(conditions[0], []).append(_Update(conditions[1:], register, value))
        else:
            yield f"{indent}{register} <= {value} ;\n"
    for condition, inner in guarded.items():
        yield f"{indent}if ({condition}) begin\n"
        yield from _process(inner, depth + 1)
        yield f"{indent}end\n"
