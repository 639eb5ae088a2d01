"""The register map."""

import dataclasses

from eightfold.hw import registers
from eightfold.hw.config import NAMED, Config
from eightfold.hw.registers import COUNTERS, REGISTERS, Access, ErrorCode, Status


def test_registers_do_not_overlap_and_fit_the_address_space() -> None:
    offsets = [register.offset for register in REGISTERS.values()]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 1 << registers.ADDRESS_BITS for offset in offsets)


def test_names_are_the_keys_and_every_register_is_explained() -> None:
    assert all(name == register.name and register.doc for name, register in REGISTERS.items())
    assert all(code.doc for code in ErrorCode)


def test_the_offsets_that_drivers_rely_on_stay() -> None:
    stable = {"IDENTITY": 0, "CONTROL": 0x0C, "STATUS": 0x10, "INTERRUPT_STATUS": 0x20, "BASE_ADDRESS": 0x2C}
    stable |= {"CYCLES": 0x80, "OUTPUTS": 0xD0}
    assert {name: REGISTERS[name].offset for name in stable} == stable


def test_bits_of_a_register_follow_its_flags() -> None:
    for bits, flag in zip(REGISTERS["STATUS"].bits, Status, strict=True):
        assert (bits.name, 1 << bits.offset) == (flag.name, flag)


def test_counters_are_read_only() -> None:
    assert {REGISTERS[name].access for name in COUNTERS} == {Access.READ}


def test_the_hash_tells_machines_apart_and_ignores_names() -> None:
    config = Config()
    hashes = {registers.configuration_hash(other) for other in NAMED.values()}
    assert len(hashes) == len(NAMED)
    assert registers.configuration_hash(dataclasses.replace(config, name="other")) == registers.configuration_hash(
        config
    )
    assert registers.configuration_hash(dataclasses.replace(config, burst_beats=32)) not in hashes
