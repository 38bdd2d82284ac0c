"""The sample bag, and `make demo`, which plays it to the real node."""
