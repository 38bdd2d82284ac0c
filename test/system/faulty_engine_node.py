"""The real node; for images with the frame id ``faulty`` its backend raises an error."""

import sys

from camera import FAULTY_FRAME_ID

from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.node import fusion_node

process_pair = Pipeline.process_pair


def process_or_fail(pipeline: Pipeline, pair: FramePair, **options: bool) -> FusionResult:
    """Process a pair, then give the backend half of its rgb image if that is faulty."""
    result = process_pair(pipeline, pair, **options)
    if pair.reference.frame_id == FAULTY_FRAME_ID:
        pair = result.pair
        pipeline.backend.run(pair.rgb[: len(pair.rgb) // 2], pair.ir, pair.coverage)
    return result


if __name__ == '__main__':
    Pipeline.process_pair = process_or_fail
    sys.exit(fusion_node.main())
