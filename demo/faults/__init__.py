"""Faults that happen on robots, done to the real node; see ``python -m demo.faults --help``."""
