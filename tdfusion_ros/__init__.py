"""
Fuse a thermal and an RGB camera into one image and detect what is in it.

>>> import tdfusion_ros
>>> fuse = tdfusion_ros.load('msrs_rt')
>>> result = fuse(rgb, ir)  # numpy arrays

The ROS 2 node in :mod:`tdfusion_ros.node` runs the same code. Importing this package loads neither
OpenCV nor ROS nor an engine; :func:`load` does.
"""

import os
from typing import Any
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdfusion_ros.core.errors import FusionError
    from tdfusion_ros.library import Fuser
    from tdfusion_ros.library import load
    from tdfusion_ros.library import Result

__version__ = '0.2.0'
__all__ = ['Fuser', 'FusionError', 'Result', 'load']

# Without it ONNX Runtime 1.32 reports to its maker, and keeps an id of the machine.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')


def __getattr__(name: str) -> Any:
    """Import the public names on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from tdfusion_ros import library

    return getattr(library, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
