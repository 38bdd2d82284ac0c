"""
The node with an engine that blocks or fails when a test asks for it.

While the file ``$BLOCK.load`` exists the model is not loaded, while ``$BLOCK.pair`` exists a pair
that has started waits, while ``$BLOCK.save`` exists no pair is saved; each started pair adds a
line to ``$BLOCK.started``. Pairs whose rgb frame_id is ``faulty`` raise an unexpected error. A
second publisher is reported soon.
"""

import os
from pathlib import Path
import sys
from time import sleep

from tdfusion_ros.core.pipeline import Pipeline
from tdfusion_ros.node import configured
from tdfusion_ros.node import inputs
from tdfusion_ros.node import receiving
from tdfusion_ros.node.__main__ import main

BLOCK = os.environ['BLOCK']
steps, build_pipeline = Pipeline.steps, configured.build_pipeline
save_pair = receiving.save_pair


def wait_while_exists(path):
    while Path(path).exists():
        sleep(0.01)


def blocking_steps(pipeline, pair, **options):
    with Path(f'{BLOCK}.started').open('a') as file:
        file.write(f'{pair.reference.stamp_ns}\n')
    wait_while_exists(f'{BLOCK}.pair')
    if pair.reference.frame_id == 'faulty':
        raise ZeroDivisionError('an unexpected error')
    return (yield from steps(pipeline, pair, **options))


def blocking_build(config, report):
    report('loading')
    wait_while_exists(f'{BLOCK}.load')
    return build_pipeline(config, report)


def blocking_save(*arguments):
    wait_while_exists(f'{BLOCK}.save')
    return save_pair(*arguments)


inputs.LEASE_S = 0.5
receiving.save_pair = blocking_save
Pipeline.steps = blocking_steps
configured.build_pipeline = blocking_build
sys.exit(main())
