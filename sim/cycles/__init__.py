"""The machine in time, without values: each file is the counterpart of the one in `hw` that it is named after.

All times are cycles of a run, counted as the CYCLES register counts them: cycle 0 is the first in which it counts.
"""
