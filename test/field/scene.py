"""A made-up scene, and what a rig would record of it: messages, bags, folders of images."""

import io
from pathlib import Path
import sys

import cv2
import numpy as np

from tdfusion_ros.cli import main
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import bag_types

T0 = 1_700_000_000_000_000_000
STEP = 100_000_000
TYPES = bag_types()


def warm(i, h=96, w=128):
    """Return (h, w) floats in [0, 1]: warm blobs on a gradient, which move with ``i``."""
    y, x = np.mgrid[0 : 1 : complex(h), 0 : 1 : complex(w)]
    picture = 0.2 + 0.15 * y
    for k in range(5):
        cx, cy = (0.13 + 0.19 * k + 0.02 * i) % 1, 0.3 + 0.11 * k
        picture += 0.45 * np.exp(-(((x - cx) / 0.05) ** 2 + ((y - cy) / 0.12) ** 2))
    return np.clip(picture, 0, 1)


def ir8(i):
    """Return the thermal picture, uint8, with a little noise."""
    noise = np.random.default_rng(i).normal(0, 1, warm(i).shape)
    return np.clip(255 * warm(i) + noise, 0, 255).astype(np.uint8)


def ir16(i, base=7800, gain=400):
    """Return the thermal picture as counts, uint16, with a little noise."""
    noise = np.random.default_rng(i).normal(0, 3, warm(i).shape)
    return np.clip(base + gain * warm(i) + noise, 0, 65535).astype(np.uint16)


def rgb8(i):
    """Return a color picture, (H, W, 3) uint8, order R, G, B."""
    gray = ir8(i)
    return np.dstack([gray, np.roll(gray, 16, 1), 255 - gray])


def encoded(suffix, pixels, *options):
    """Return the bytes of an image file; color in the order R, G, B."""
    stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return cv2.imencode(suffix, stored, options)[1].tobytes()


def make(kind, **fields):
    """Return a message of rosbags' classes: ``make('sensor_msgs/msg/Image', ...)``."""
    return TYPES.make(kind, **fields)


def head(ns, frame_id='camera'):
    sec, nanosec = divmod(int(ns), 10**9)
    stamp = make('builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)


def image(ns, pixels, encoding, **fields):
    """Return a sensor_msgs/Image that carries the array as it is; ``fields`` replace others."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    given = {'header': head(ns), 'height': height, 'width': width, 'encoding': encoding}
    given |= {'is_bigendian': 0, 'step': pixels.strides[0]}
    given |= {'data': pixels.reshape(-1).view(np.uint8)}
    return make('sensor_msgs/msg/Image', **(given | fields))


def packed(ns, data, form='jpeg'):
    return make(
        'sensor_msgs/msg/CompressedImage',
        header=head(ns),
        format=form,
        data=np.frombuffer(bytes(data), np.uint8),
    )


def pairs(
    n=3,
    rgb=lambda ns, i: image(ns, rgb8(i), 'rgb8'),
    ir=lambda ns, i: image(ns, ir8(i), 'mono8'),
    rgb_topic='/rgb/image_raw',
    ir_topic='/ir/image_raw',
):
    """Return the records (topic, time, message) of n pairs; rgb and ir get the stamp and i."""
    records = []
    for i in range(n):
        ns = T0 + i * STEP
        records += [(rgb_topic, ns, rgb(ns, i)), (ir_topic, ns + 1000, ir(ns + 1000, i))]
    return records


def bag(path, records):
    with BagWriter(Path(path)) as writer:
        for topic, ns, message in records:
            writer.write(topic, message.__msgtype__, ns, message)
    return str(path)


def folder(path, files):
    """Write files {name: bytes} to a folder and return its path."""
    Path(path).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (Path(path) / name).write_bytes(content)
    return str(path)


def tdfusion(*arguments):
    """Run a command in this process; return its output, its errors and ``exit status N``."""
    text, before = io.StringIO(), (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = text
    try:
        status = main([str(argument) for argument in arguments])
    finally:
        sys.stdout, sys.stderr = before
    return f'{text.getvalue()}exit status {status}'


def fuse(*arguments, output='out'):
    """Run ``tdfusion fuse`` on the CPU; return what it said."""
    return tdfusion('fuse', *arguments, '-o', output, '-p', 'backend=cpu')
