"""Eightfold runs quantized networks to the bit on an int8 systolic accelerator described in Amaranth."""

__version__ = "0.1.0"
