"""What is fuzzed: a way to draw a wrong input from a generator, and to give it to a reader."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

Case = Callable[[], None]
Draw = Callable[[Random], Case]


@dataclass(frozen=True)
class Target:
    """
    One reader.

    :param share: of a hundred inputs, how many go here.
    :param prepare: is given an empty folder; returns what draws an input and gives back the call
        that reads it, which returns if it was accepted and raises FusionError if it was refused.
    """

    name: str
    share: float
    prepare: Callable[[Path], Draw]


class BrokenPromiseError(Exception):
    """Something was accepted that is not what the reader promises."""


def must(holds: bool, what: str) -> None:
    """Raise BrokenPromiseError if not; ``assert`` would vanish under ``python -O``."""
    if not holds:
        raise BrokenPromiseError(what)
