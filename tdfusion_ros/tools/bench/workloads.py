"""Work to be timed: the robot's path from two messages to the published ones, or a graph alone."""

from dataclasses import replace
from functools import partial
from itertools import cycle
from itertools import pairwise
from pathlib import Path
import sys
from time import perf_counter_ns
from typing import Any

import numpy as np

from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.tools.bench.host import process_usage
from tdfusion_ros.tools.bench.message_pairs import image_encoding
from tdfusion_ros.tools.bench.message_pairs import load_pairs
from tdfusion_ros.tools.bench.message_pairs import PairSource

PERIOD_NS = 33_333_333


class RobotPath:
    """The path of a pair through the node without DDS: decode, pair, fuse, fill messages."""

    def __init__(self, source: PairSource, config: FusionConfig, *, fused: bool = True) -> None:
        self._fused = fused
        self._pairs = load_pairs(source, config.sync)
        self._endless = cycle(self._pairs)
        self._size_hw = messages.to_frame(self._pairs[0][0]).size_hw
        self._before_mib = process_usage()['memory_mib']
        # Warm up at this size only: the default size would be the memory peak of smaller ones.
        report = partial(print, file=sys.stderr)
        self._pipeline = build_pipeline(config, report, (self._size_hw,))
        self._synchronizer = Synchronizer(config)
        # Message classes of rosbags, filled in the way of rclpy.
        self._types = messages.MessageTypes(bag_types().get, messages.ros_types().pack)
        self._stamp_ns = 0

    def run_frame(self) -> dict[str, int]:
        """Process the next pair; return the time of each stage [ns]."""
        rgb_message, ir_message = next(self._endless)
        self._stamp_ns += PERIOD_NS  # stamps must not jump back when the pairs repeat
        skew_ns = messages.stamp_ns(ir_message.header) - messages.stamp_ns(rgb_message.header)
        marks = [perf_counter_ns()]
        rgb, ir = messages.to_frame(rgb_message), messages.to_frame(ir_message)
        marks.append(perf_counter_ns())
        self._synchronizer.push('rgb', replace(rgb, stamp_ns=self._stamp_ns))
        self._synchronizer.push('ir', replace(ir, stamp_ns=self._stamp_ns + skew_ns))
        marks.append(perf_counter_ns())
        try:
            result = self._pipeline.process(rgb, ir, fused=self._fused)
        except FrameError as error:
            raise BagError(f'a pair cannot be fused: {error}') from None
        marks.append(perf_counter_ns())
        head = messages.header(self._types, rgb)
        classes = self._pipeline.contract.classes
        messages.detection_array(self._types, head, result.detections, classes)
        if result.fused is not None:
            messages.image(self._types, head, result.fused)
        marks.append(perf_counter_ns())
        decode, pairing, _, filling = (b - a for a, b in pairwise(marks))
        total = marks[-1] - marks[0]
        stages = {'decode': decode, 'pairing': pairing, **result.stage_ns, 'messages': filling}
        rest = total - result.stage_ns['network']
        return {**stages, 'total': total, 'all but network': rest}

    def facts(self) -> dict[str, Any]:
        """Return size, input, model, engine, and the memory before the model was loaded."""
        contract = self._pipeline.contract
        return {
            'size': f'{self._size_hw[1]}x{self._size_hw[0]}',
            'megapixels': self._size_hw[0] * self._size_hw[1] / 1e6,
            'pairs': len(self._pairs),
            'published': 'fused image, detections' if self._fused else 'detections',
            'images': ' + '.join(image_encoding(message) for message in self._pairs[0]),
            'model': contract.name,
            'sha256': contract.sha256[GRAPH_FILE],
            'backend': self._pipeline.backend.name,
            'engine': self._pipeline.backend.engine,
            'before_model_mib': self._before_mib,
        }


class Graph:
    """A graph alone, run on noise by the cpu backend."""

    def __init__(self, path: Path, size_hw: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self._rgb = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        self._ir = rng.random(size_hw, dtype=np.float32)
        self._coverage = np.ones(size_hw, np.float32)
        self._before_mib = process_usage()['memory_mib']
        self._backend = CpuBackend(path.read_bytes())

    def run_frame(self) -> dict[str, int]:
        """Run the graph once; return its time [ns]."""
        start_ns = perf_counter_ns()
        self._backend.run(self._rgb, self._ir, self._coverage)
        return {'network': perf_counter_ns() - start_ns}

    def facts(self) -> dict[str, Any]:
        """Return the engine and the memory before the graph was loaded."""
        return {'engine': self._backend.engine, 'before_model_mib': self._before_mib}


Workload = RobotPath | Graph
