"""
A camera in a process of its own: it sends real pictures and does what its standard input says.

    python -m benchmarks.live.camera rgb 640x480

Every line of the input is a :class:`Settings` as JSON. The output says for every line taken
``changed AT_S``, for every picture ``sent STAMP_NS AT_S``, and for a new publisher ``found AT_S``
once DDS knows of a subscription, in the system's monotonic time. Pictures are due at whole periods
of the clock, so that two cameras are triggered together without knowing of each other;
``clock_off_s`` changes what they say, not when.
"""

from collections.abc import Iterator
from dataclasses import asdict
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

from benchmarks.live.stream import SKEW_NS
from benchmarks.live.stream import Stream
from demo.player import INPUT_KINDS
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.tools.bench.benchmark import demo_bag
from tdfusion_ros.tools.bench.pairs import load_pairs
from tdfusion_ros.tools.bench.pairs import Source
from tdfusion_ros.tools.options import sizes_hw

IDLE_S = 0.02  # between two looks at the input
FAULTY = 'faulty'  # frame id for which demo.faults.node lets the engine fail


@dataclass(frozen=True)
class Settings:
    """
    What a camera sends.

    :param hz: pictures a second; 0: none.
    :param picture: what they show, see :func:`seen`.
    :param clock_off_s: added to the time in the header [s].
    :param loss: share of the pictures that is never sent.
    """

    hz: float = 20.0
    picture: str = 'world'
    clock_off_s: float = 0.0
    loss: float = 0.0
    reliable: bool = True

    def line(self) -> bytes:
        """Return them as a line of a camera's input."""
        return json.dumps(asdict(self)).encode() + b'\n'


def seen(picture: str, images: list[Any]) -> list[Any]:
    """
    Return the images of a camera as it sends them.

    :param picture: ``world``; ``frozen``, the first one for ever; ``flat``, as of a closed
        shutter; ``truncated``, half of the data; ``unknown``, in an encoding that nobody knows;
        ``small``, of half the size; ``faulty``, an engine that fails is asked for.
    """
    if picture == 'frozen':
        return images[:1]
    return [changed(picture, image) for image in images]


def changed(picture: str, image: Any) -> Any:
    """Return one image as :func:`seen` says."""
    if picture == 'flat':
        return replace(image, data=np.full_like(image.data, 37))
    if picture == 'truncated':
        return replace(image, data=image.data[: len(image.data) // 2])
    if picture == 'unknown':
        return replace(image, encoding='8UC7')
    if picture == 'faulty':
        return replace(image, header=replace(image.header, frame_id=FAULTY))
    if picture == 'small':
        pixels = image.data.reshape(image.height, image.width, -1)
        pixels = cv2.resize(pixels, (image.width // 2, image.height // 2))
        height, width = pixels.shape[:2]
        step = image.step // 2
        return replace(image, height=height, width=width, step=step, data=pixels.reshape(-1))
    return image


class Camera:
    """A publisher that follows its settings."""

    def __init__(self, name: str, images: list[Any]) -> None:
        self._node = rclpy.create_node(f'demo_{name}_camera')
        self._stream = cache(lambda picture: Stream(name, seen(picture, images)))
        self._kind = INPUT_KINDS[self._stream('world').type]
        self._skew_ns = SKEW_NS if name == 'ir' else 0
        self._chance = random.Random(name)
        self._publisher: Any = None
        self._found = False
        self._settings = Settings(hz=0.0)

    def follow(self, settings: Settings) -> None:
        """Take new settings; another reliability needs another publisher, as in a driver."""
        stream = self._stream(settings.picture)
        if self._publisher is None or settings.reliable != self._settings.reliable:
            if self._publisher is not None:
                self._node.destroy_publisher(self._publisher)
            kind = (
                ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT
            )
            profile = QoSProfile(depth=10, reliability=kind)
            self._publisher = self._node.create_publisher(self._kind, stream.topic, profile)
            self._found = False
        self._settings = settings

    def look(self) -> None:
        """Say when somebody subscribes to a new publisher."""
        if not self._found and self._publisher and self._publisher.get_subscription_count():
            self._found = True
            print(f'found {monotonic():.6f}', flush=True)

    def due(self) -> Iterator[int]:
        """Yield the numbers of the pictures that are due now, late ones left out."""
        if not self._settings.hz:
            sleep(IDLE_S)
            return
        period_ns = round(1e9 / self._settings.hz)
        number, passed_ns = divmod(time_ns(), period_ns)
        wait_s = (period_ns - passed_ns) / 1e9
        sleep(min(wait_s, IDLE_S))
        if wait_s <= IDLE_S:
            yield number + 1

    def send(self, number: int) -> None:
        """Send a picture, unless it gets lost."""
        given = self._settings
        if self._chance.random() < given.loss:
            return
        stamp_ns = number * round(1e9 / given.hz) + self._skew_ns + round(given.clock_off_s * 1e9)
        at_s = monotonic()
        self._publisher.publish(self._stream(given.picture).message(number, stamp_ns))
        print(f'sent {stamp_ns} {at_s:.6f}', flush=True)


def main() -> int:
    """Send until the input ends."""
    name, size = sys.argv[1:]
    source = Source((demo_bag(),), size_hw=sizes_hw([size])[0], raw=True)
    images = [pair[name == 'ir'] for pair in load_pairs(source, SyncConfig())]
    rclpy.init(args=[])
    camera = Camera(name, images)
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
            camera.follow(Settings(**json.loads(line)))
            print(f'changed {monotonic():.6f}', flush=True)
        camera.look()
        for number in camera.due():
            camera.send(number)


if __name__ == '__main__':
    sys.exit(main())
