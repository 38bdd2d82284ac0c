"""
The node with a slow or faulty engine, as the environment says.

SLOW_INFERENCE_S for each pair, SLOW_START_S to load the model. What nobody foresaw is raised while
loading where FAULTY_START is set, and for every pair whose rgb frame_id is ``faulty``.
"""

import os
import sys
from time import monotonic
from time import sleep

from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node import fusion_node as node

INFERENCE_S = float(os.environ.get('SLOW_INFERENCE_S', '0'))
START_S = float(os.environ.get('SLOW_START_S', '0'))
take, build_pipeline = Pipeline.take, node.build_pipeline


def slow_take(pipeline, match, **options):
    begun = monotonic()
    if match.reference.frame_id == 'faulty':
        raise ZeroDivisionError('nobody foresaw this')
    result = take(pipeline, match, **options)
    sleep(max(0.0, begun + INFERENCE_S - monotonic()))
    return result


def slow_build(config, report):
    report('loading')
    sleep(START_S)
    if 'FAULTY_START' in os.environ:
        raise ZeroDivisionError('nobody foresaw this')
    return build_pipeline(config, report)


Pipeline.take = slow_take
node.build_pipeline = slow_build
sys.exit(node.main())
