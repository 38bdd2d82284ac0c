"""Wrong bytes and wrong text for everything that reads from outside: ``python -m demo.fuzz``."""
