"""Programs that print the measured values of the documentation: ``python -m benchmarks.NAME``."""
