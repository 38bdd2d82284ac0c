"""Images and camera information as messages carry them."""

from pathlib import Path
from random import Random
import struct
from types import SimpleNamespace
from typing import Any
import zlib

import cv2
import numpy as np

from demo.fuzz import mutate
from demo.fuzz.target import Case
from demo.fuzz.target import Draw
from demo.fuzz.target import must
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.decode import ENCODINGS
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.tools.calibrate import cameras

ODD = ('', 'MONO8', 'yuv422', '32FC1', 'bayer_rggb8', '8UC4', '16UC3', 'mono8\x00', 'é' * 99)


def head() -> Any:
    """Return a header."""
    return SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id='camera')


def check_frame(frame: Frame) -> None:
    """Hold a frame against what decoding promises, and take it as thermal image."""
    pixels = frame.pixels
    must(pixels.dtype in (np.uint8, np.uint16), 'type of the pixels')
    must(pixels.dtype.isnative, 'byte order of the pixels')
    must(max(frame.size_hw) <= MAX_SIDE_PX, 'size of the image')
    if pixels.size > 1 << 20:
        return
    try:
        heat = ThermalScaler(IrConfig()).scale(pixels)
    except FrameError:  # a colored picture is none
        return
    must(heat.dtype == np.float32 and heat.shape == frame.size_hw, 'form of the scaled image')
    must(bool(np.isfinite(heat).all()), 'a scaled image of finite numbers')


def raw(_: Path) -> Draw:
    """Fuzz sensor_msgs/Image, field by field."""
    names = [*ENCODINGS, *ODD]

    def draw(rng: Random) -> Case:
        encoding = rng.choice(names)
        item, channels, _ = ENCODINGS.get(encoding, (1, 3, None))
        height, width = rng.randrange(1, 40), rng.randrange(1, 40)
        step = width * item * channels + rng.choice((0, 0, 1, 7))
        length = height * step
        wrong = rng.sample(('height', 'width', 'step', 'length', 'none'), rng.choice((1, 1, 2, 3)))
        if 'length' in wrong:
            length = max(0, rng.choice((0, 1, step, length - 1, length - 8, length + 5)))
        message = SimpleNamespace(
            header=head(),
            height=mutate.unsigned(rng, 32) if 'height' in wrong else height,
            width=mutate.unsigned(rng, 32) if 'width' in wrong else width,
            step=mutate.unsigned(rng, 32) if 'step' in wrong else step,
            encoding=encoding,
            is_bigendian=rng.choice((0, 1, 255)),
            data=rng.randbytes(length),
        )
        return lambda: check_frame(messages.to_frame(message))

    return draw


def pictures() -> dict[str, bytes]:
    """Return small pictures in every form that is read, and in some that are not."""
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3)
    gray, deep = smooth[..., 0], smooth[..., 0].astype(np.uint16) * 200
    alpha = np.dstack([smooth, gray])
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    made = {
        'jpeg': ('.jpg', smooth, []),
        'jpeg, gray': ('.jpg', gray, []),
        'jpeg, progressive': ('.jpg', smooth, progressive),
        'png': ('.png', smooth, []),
        'png, 16 bit': ('.png', deep, []),
        'png, 16 bit color': ('.png', np.dstack([deep] * 3), []),
        'png, alpha': ('.png', alpha, []),
        'png, 1 bit': ('.png', gray, [cv2.IMWRITE_PNG_BILEVEL, 1]),
        'webp': ('.webp', smooth, []),
        'tiff': ('.tiff', smooth, []),
        'bmp': ('.bmp', smooth, []),
    }
    out = {name: cv2.imencode(*parts)[1].tobytes() for name, parts in made.items()}
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    out['jpeg, turned'] = (
        b'\xff\xd8\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + out['jpeg'][2:]
    )
    gray_alpha = png(8, 4, np.dstack([gray, gray]))
    out |= {'png, gray and alpha': gray_alpha, 'png, palette': png(8, 3, gray, bytes(range(255)))}
    out['gif'] = (
        b'GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;'
    )
    return out


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG with its checksum."""
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(bits: int, color: int, pixels: np.ndarray, palette: bytes = b'') -> bytes:
    """Return a PNG of a color type that OpenCV does not write (PNG specification, 11.2.2)."""
    size = struct.pack('>IIBBBBB', pixels.shape[1], pixels.shape[0], bits, color, 0, 0, 0)
    rows = b''.join(b'\0' + row.tobytes() for row in pixels)
    middle = chunk(b'PLTE', palette) if palette else b''
    body = (
        chunk(b'IHDR', size) + middle + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    )
    return b'\x89PNG\r\n\x1a\n' + body


def sized(rng: Random, data: bytes) -> bytes:
    """Return a picture that states another size; a PNG with the checksum put right."""
    width, height = (mutate.unsigned(rng, 32) for _ in range(2))
    if data.startswith(b'\x89PNG'):
        fields = struct.pack('>II', width, height) + data[24:29]
        if rng.random() < 0.3:
            fields = fields[:8] + rng.randbytes(2) + fields[10:]
        return data[:8] + chunk(b'IHDR', fields) + data[33:]
    at = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2'))
    if at < 0:
        return data
    size = struct.pack('>HH', height & 0xFFFF, width & 0xFFFF)
    return data[: at + 5] + size + data[at + 9 :]


def compressed(_: Path) -> Draw:
    """Fuzz sensor_msgs/CompressedImage: small pictures of which bytes, sizes or ends are wrong."""
    samples = list(pictures().values())

    def draw(rng: Random) -> Case:
        data = rng.choice(samples)
        act = rng.random()
        if act < 0.15:
            data = sized(rng, data)
        elif act < 0.9:
            data = mutate.mangle(rng, data, samples)
            if rng.random() < 0.3:  # past the check of the end mark, into the decoder
                data += b'\xff\xd9'
        elif act < 0.95:
            data = b'\xff\xd8' + rng.randbytes(rng.randrange(3000)) + b'\xff\xd9'
        form = rng.choice(
            ('jpeg', 'png', '', 'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth')
        )
        message = SimpleNamespace(header=head(), format=form, data=data)
        return lambda: check_frame(messages.to_frame(message))

    return draw


def stored(place: Path) -> Draw:
    """Fuzz image files, as ``tdfusion fuse`` reads them out of folders."""
    path = place / 'picture.png'
    samples = list(pictures().values())

    def draw(rng: Random) -> Case:
        data = rng.choice(samples)
        if rng.random() < 0.4:  # a number in the header, which a TIFF has at its end
            bits = rng.choice((16, 32))
            at = rng.choice((rng.randrange(64), len(data) - rng.randrange(1, 260)))
            number = struct.pack('<H' if bits == 16 else '<I', mutate.unsigned(rng, bits))
            data = data[: max(0, at)] + number + data[max(0, at) + len(number) :]
        else:
            data = mutate.mangle(rng, data, samples)
        path.write_bytes(data)
        return lambda: check_frame(Frame(read_image(path), 0))

    return draw


def camera_info(_: Path) -> Draw:
    """Fuzz sensor_msgs/CameraInfo as ``tdfusion calibrate`` and ``save_pair`` take it."""

    def draw(rng: Random) -> Case:
        k = [554.0, 0.0, 319.5, 0.0, 554.0, 239.5, 0.0, 0.0, 1.0]
        d = [-0.3, 0.1, 0.0, 0.0, 0.0][: rng.choice((0, 1, 4, 5, 5))] * rng.choice((1, 1, 2))
        for values in (k, d):
            if values and rng.random() < 0.6:
                for _ in range(rng.choice((1, 2, 9))):
                    values[rng.randrange(len(values))] = _float(rng)
        size = [480, 640]
        if rng.random() < 0.3:
            size[rng.randrange(2)] = mutate.unsigned(rng, 32)
        models = ('plumb_bob', 'plumb_bob', 'rational_polynomial', 'equidistant', '', '\x00')
        info = SimpleNamespace(
            header=head(), height=size[0], width=size[1], k=k, d=d, r=[0.0] * 9, p=[0.0] * 12
        )
        info.distortion_model = rng.choice(models)
        image_hw = rng.choice((None, (480, 640), (240, 320), (1, 8192)))

        def read() -> None:
            messages.camera_info_values(info)
            camera = cameras.camera_from_message(info, 'ir', image_hw)
            must(bool(np.isfinite(camera.k).all() and np.isfinite(camera.d).all()), 'finite K, D')

        return read

    return draw


def _float(rng: Random) -> float:
    try:
        return float(mutate.number(rng))
    except OverflowError:
        return float('inf')
