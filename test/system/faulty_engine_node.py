"""The real node; for images with the frame id ``faulty`` its engine raises an error of its own."""

import sys
from typing import Any

from camera import FAULTY_FRAME_ID

from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node import fusion_node

take = Pipeline.take


def take_or_fail(pipeline: Pipeline, match: Any, **options: bool) -> Any:
    """Hand the engine half of a faulty rgb image beside a whole ir image."""
    if match.reference.frame_id == FAULTY_FRAME_ID:
        pair = take(pipeline, match, **options).pair
        pipeline.backend.run(pair.rgb[: len(pair.rgb) // 2], pair.ir)
    return take(pipeline, match, **options)


if __name__ == '__main__':
    Pipeline.take = take_or_fail
    sys.exit(fusion_node.main())
