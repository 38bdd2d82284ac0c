"""
The real node, whose engine fails by itself for pairs that a camera asks it for.

Of a picture in the frame ``faulty`` the engine gets the upper half, beside a whole ir picture: so
what is raised, and where, is the engine's own.
"""

import sys
from typing import Any

from benchmarks.live.camera import FAULTY
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node import fusion_node as node

take = Pipeline.take


def take_or_fail(pipeline: Pipeline, match: Any, **options: bool) -> Any:
    """Make a result, or let the engine raise."""
    if match.head.frame_id == FAULTY:
        pair = take(pipeline, match, **options).pair
        pipeline.backend.run(pair.rgb[: len(pair.rgb) // 2], pair.ir)
    return take(pipeline, match, **options)


if __name__ == '__main__':
    Pipeline.take = take_or_fail
    sys.exit(node.main())
