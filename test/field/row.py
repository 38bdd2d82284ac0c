"""One row of the tables of real situations."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A real situation and the right behavior."""

    situation: str
    """What a camera, bag or data set was like; unique."""
    source: str
    """Where it was reported, such as ros-drivers/usb_cam #214, or which product does it."""
    run: Callable[[], str]
    """Make the input in the current folder (a new one), run the product, return what it said."""
    expected: str
    """Regular expression of a part of that text; a dot is any character."""


def rows() -> list[Row]:
    """Return the rows of all modules ``rows_*.py``."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob('rows_*.py'))
    return [row for module in modules for row in import_module(module).ROWS]
