"""
A camera in a process of its own, controlled through its standard input.

    python test/system/camera.py rgb 640x480

Each input line is a :class:`CameraSettings` as JSON. It prints ``changed AT_S`` for each line,
``found AT_S`` when a subscription matches a new publisher, and ``sent STAMP_NS AT_S`` for each
image (monotonic times). Images are due at whole periods of the wall clock, which triggers two
cameras together although neither knows the other; ``clock_offset_s`` changes the stamps only.
"""

from dataclasses import dataclass
from dataclasses import replace
from functools import cache
import json
from queue import SimpleQueue
import random
import sys
from threading import Thread
from time import monotonic
from time import sleep
from time import time_ns
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from benchmarks.stream import SKEW_NS
from benchmarks.stream import Stream
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.tools.bench.benchmark import demo_bag
from tdfusion_ros.tools.bench.message_pairs import load_pairs
from tdfusion_ros.tools.bench.message_pairs import PairSource
from tdfusion_ros.tools.options import sizes_hw

POLL_S = 0.02  # of the standard input
FAULTY_FRAME_ID = 'faulty'  # slow_node.py fails for it


@dataclass(frozen=True)
class CameraSettings:
    """
    What a camera sends.

    ``content`` is ``normal``; ``frozen``: one image repeated; ``flat``: one gray level, like a
    closed shutter; ``truncated``: half the data; ``unknown_encoding``; ``half_size``; ``faulty``:
    the pipeline fails.
    """

    hz: float = 20.0  # 0: no images
    content: str = 'normal'
    clock_offset_s: float = 0.0  # added to the stamps
    loss: float = 0.0  # fraction of images that are not sent
    reliable: bool = True


def alter(content: str, image: Any) -> Any:
    """Return an image message with the content that :class:`CameraSettings` describes."""
    if content == 'flat':
        return replace(image, data=np.full_like(image.data, 37))
    if content == 'truncated':
        return replace(image, data=image.data[: len(image.data) // 2])
    if content == 'unknown_encoding':
        return replace(image, encoding='8UC7')
    if content == 'faulty':
        return replace(image, header=replace(image.header, frame_id=FAULTY_FRAME_ID))
    if content == 'half_size':
        height, width = image.height // 2, image.width // 2
        pixels = cv2.resize(image.data.reshape(image.height, image.width, -1), (width, height))
        size = {'height': height, 'width': width, 'step': image.step // 2}
        return replace(image, **size, data=pixels.reshape(-1))
    return image


class Camera:
    """A publisher of images that follows its settings."""

    def __init__(self, name: str, size: str) -> None:
        source = PairSource((demo_bag(),), size_hw=sizes_hw([size])[0], raw=True)
        images = [pair[name == 'ir'] for pair in load_pairs(source, SyncConfig())]

        @cache
        def stream(content: str) -> Stream:
            used = images[:1] if content == 'frozen' else images
            return Stream(name, [alter(content, image) for image in used])

        self._stream = stream
        self._node = rclpy.create_node(f'test_{name}_camera')
        self._skew_ns = SKEW_NS if name == 'ir' else 0
        self._random = random.Random(name)
        self._settings = CameraSettings(hz=0.0)
        self._publisher = self._create_publisher()
        self._found = False

    def _create_publisher(self) -> Any:
        policy = ReliabilityPolicy
        reliability = policy.RELIABLE if self._settings.reliable else policy.BEST_EFFORT
        profile = QoSProfile(depth=10, reliability=reliability)
        return self._node.create_publisher(Image, self._stream('normal').topic, profile)

    def set(self, settings: CameraSettings) -> None:
        """Apply new settings; another reliability needs a new publisher, as in a driver."""
        old, self._settings = self._settings, settings
        if settings.reliable != old.reliable:
            self._node.destroy_publisher(self._publisher)
            self._publisher, self._found = self._create_publisher(), False
        print(f'changed {monotonic():.6f}', flush=True)

    def step(self) -> None:
        """Wait until the next image is due, but not longer than ``POLL_S``, and send it."""
        if not self._found and self._publisher.get_subscription_count():
            self._found = True
            print(f'found {monotonic():.6f}', flush=True)
        settings = self._settings
        if not settings.hz:
            sleep(POLL_S)
            return
        period_ns = round(1e9 / settings.hz)
        number, passed_ns = divmod(time_ns(), period_ns)
        wait_s = (period_ns - passed_ns) / 1e9
        sleep(min(wait_s, POLL_S))
        if wait_s > POLL_S or self._random.random() < settings.loss:
            return
        offset_ns = self._skew_ns + round(settings.clock_offset_s * 1e9)
        stamp_ns = (number + 1) * period_ns + offset_ns
        at_s = monotonic()
        self._publisher.publish(self._stream(settings.content).message(number, stamp_ns))
        print(f'sent {stamp_ns} {at_s:.6f}', flush=True)


def main() -> int:
    rclpy.init(args=[])
    camera = Camera(*sys.argv[1:])
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put('')

    Thread(target=read, daemon=True).start()
    while True:
        while not lines.empty():
            if not (line := lines.get()):
                rclpy.try_shutdown()
                return 0
            camera.set(CameraSettings(**json.loads(line)))
        camera.step()


if __name__ == '__main__':
    sys.exit(main())
