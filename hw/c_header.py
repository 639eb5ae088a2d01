"""The register map as a C header, from the definitions that the gateware is made from."""

from .registers import COUNTERS, IDENTITY, REGISTERS, VERSION, ErrorCode

REGISTERS_HEADER = "eightfold_registers.h"
"""The name by which the driver includes it."""


def registers_header() -> str:
    """Its text. `EIGHTFOLD_REG_*` are byte offsets, `EIGHTFOLD_<register>_<part>` masks, `EIGHTFOLD_ERROR_*` codes."""
    registers = [(f"REG_{name}", f"0x{register.offset:02x}u", register.doc) for name, register in REGISTERS.items()]
    masks = [
        (f"{register.name}_{part.name}", f"0x{((1 << part.width) - 1) << part.offset:x}u", part.doc)
        for register in REGISTERS.values()
        for part in register.bits
    ]
    values = [
        ("IDENTITY_VALUE", f"0x{IDENTITY:08x}u", "what the register IDENTITY holds"),
        ("VERSION_VALUE", f"0x{VERSION:08x}u", "what the register VERSION holds"),
        ("FIRST_COUNTER", f"0x{REGISTERS[next(iter(COUNTERS))].offset:02x}u", "the counters follow each other"),
        ("COUNTERS", f"{len(COUNTERS)}u", "how many they are"),
    ]
    errors = [(f"ERROR_{code.name}", f"{code.value}u", code.doc) for code in ErrorCode]
    groups = (
        ("Byte offsets of registers.", registers),
        ("Parts of registers.", masks),
        ("Values.", values),
        ("What the register ERROR says.", errors),
    )
    lines = ["/* Registers of the Eightfold machine.  Made by Eightfold from hw/registers.py. */"]
    lines += ["#ifndef EIGHTFOLD_REGISTERS_H", "#define EIGHTFOLD_REGISTERS_H"]
    for title, definitions in groups:
        lines += ["", f"/* {title} */"]
        lines += [f"#define {f'EIGHTFOLD_{name}':<40} {value:<12} /* {doc} */" for name, value, doc in definitions]
    messages = ", \\\n".join(f'    "{code.doc}"' for code in ErrorCode)
    lines += ["", "/* The errors in words, by their codes. */"]
    lines += [f"#define EIGHTFOLD_ERROR_MESSAGES {{ \\\n{messages} }}", "", "#endif"]
    return "\n".join(lines) + "\n"
