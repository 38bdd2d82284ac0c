"""Images and camera information, as messages and files carry them."""

from io import BytesIO
from itertools import islice
import struct
from types import SimpleNamespace
import zlib

import cv2
from damage import damaged
from damage import floats
from damage import unsigned
from hypothesis import strategies as st
import numpy as np
from PIL import Image

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats import camera_info
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.raw_images import ENCODINGS
from tdfusion_ros.formats.videos import VideoFile

ODD_ENCODINGS = ('', 'MONO8', 'yuv444', '32FC3', 'bayer_xxxx8', '8UC5', 'mono8\x00', 'é' * 99)
FORMATS = (
    *('jpeg', 'png', '', ';', 'h264', 'rgb8; jpeg compressed bgr8', 'mono16; tiff compressed '),
    *('bayer_rggb8; jpeg compressed ', 'bayer_grbg16; png compressed', 'bayer_; png', 'bayer_8;'),
    *('16UC1; compressedDepth', '32FC1; compressedDepth png', '32FC1; compressedDepth rvl'),
)
HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id='camera')


def check_frame(frame):
    """Check what decoding promises, and what thermal scaling makes of it."""
    pixels = frame.pixels
    assert pixels.dtype in (np.uint8, np.uint16, np.float32)
    assert pixels.dtype.isnative
    assert max(frame.size_hw) <= MAX_SIDE_PX
    if pixels.size > 1 << 20:
        return
    try:
        scaled = ThermalScaler(IrConfig()).scale(pixels)
    except FrameError:  # a color image is not thermal
        return
    assert (scaled.dtype, scaled.shape) == (np.float32, frame.size_hw)
    assert np.isfinite(scaled).all()


def test_image_message(fuzz):
    def read(value):
        encoding, (height, width), padding, missing, wrong, big = value
        known = ENCODINGS.get(encoding, ENCODINGS['rgb8'])
        step = width * np.dtype(known.dtype).itemsize * known.channels + padding
        rows = int(height * known.rows)
        fields = {'height': height, 'width': width, 'step': step, **wrong}
        data = bytes(range(256)) * 200
        fields |= {'data': data[: max(0, rows * step - missing)], 'encoding': encoding}
        message = SimpleNamespace(header=HEADER, is_bigendian=big, **fields)
        check_frame(messages.to_frame(message))

    inputs = st.tuples(
        st.sampled_from([*ENCODINGS, *ODD_ENCODINGS]),
        st.tuples(*[st.integers(1, 39)] * 2),
        st.sampled_from((0, 0, 1, 7)),
        st.sampled_from((0, 0, 1, 8, -5, 200, 100_000)),
        st.dictionaries(st.sampled_from(('height', 'width', 'step')), unsigned(32)),
        st.sampled_from((0, 1, 255)),
    )
    fuzz(inputs, read, 42, good=('mono16', (2, 3), 1, 0, {}, 1))


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def by_pillow(kind, image, **options):
    """Return an image as Pillow encodes it: OpenCV writes no such colors and no orientation."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encode(suffix, pixels, *options):
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def encoded_images():
    """Return small images in every format that is supported, and in some that are not."""
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3)
    gray, deep = smooth[..., 0], smooth[..., 0].astype(np.uint16) * 200
    jpeg = encode('.jpg', smooth)
    turned = Image.Exif()
    turned[274] = 6
    return (
        jpeg,
        encode('.jpg', gray),
        encode('.jpg', smooth, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        by_pillow('JPEG', Image.fromarray(smooth), exif=turned),
        *(encode('.png', np.dstack(p)) for p in ([smooth], [deep], [deep] * 3, [smooth, gray])),
        encode('.png', gray, cv2.IMWRITE_PNG_BILEVEL, 1),
        by_pillow('PNG', Image.fromarray(np.dstack([gray, gray]))),
        by_pillow('PNG', Image.fromarray(gray).convert('P')),
        *(encode(suffix, smooth) for suffix in ('.webp', '.tiff', '.bmp')),
        *(encode('.tiff', gray.astype(kind)) for kind in (np.uint16, np.int16, np.float32)),
        jpeg + jpeg,
        *(bytes(12) + encode('.png', pixels) for pixels in (deep, smooth)),
        struct.pack('<iff', 0, 20.0, 3.0) + encode('.png', deep),
        b'GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;',
    )


ENCODED = encoded_images()


def state_size(data, width, height):
    """Return an image that states another size, a PNG with the right checksum."""
    if data.startswith(b'\x89PNG'):
        head = struct.pack('>II', width, height) + data[24:29]
        return data[:8] + chunk(b'IHDR', head) + data[33:]
    at = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2')) + 5
    return data[:at] + struct.pack('>HH', height & 0xFFFF, width & 0xFFFF) + data[at + 4 :]


def test_compressed_image_message(fuzz):
    def read(value):
        name, data = value
        check_frame(messages.to_frame(SimpleNamespace(header=HEADER, format=name, data=data)))

    resized = st.builds(state_size, st.sampled_from(ENCODED), unsigned(32), unsigned(32))
    ended = damaged(*ENCODED).map(lambda data: data + b'\xff\xd9')  # reaches the decoder
    noise = st.binary(max_size=3000).map(lambda data: b'\xff\xd8' + data + b'\xff\xd9')
    data = st.one_of(damaged(*ENCODED), damaged(*ENCODED), ended, resized, noise)
    fuzz(st.tuples(st.sampled_from(FORMATS), data), read, 30, good=('jpeg', ENCODED[0]))


def test_image_file(fuzz, tmp_path):
    path = tmp_path / 'image.png'

    def read(data):
        path.write_bytes(data)
        check_frame(Frame(read_image(path), 0))

    tail = st.builds(  # where a TIFF keeps its header
        lambda data, at, number: (
            data[:-at] + struct.pack('<I', number) + data[len(data) - at + 4 :]
        ),
        *(st.sampled_from(ENCODED), st.integers(4, 260), unsigned(32)),
    )
    fuzz(damaged(*ENCODED) | tail, read, 4, good=ENCODED[0])


def test_video_file(fuzz, tmp_path):
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (32, 24))
    for level in range(0, 250, 50):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    good = path.read_bytes()

    def read(data):
        path.write_bytes(data)
        for _, _, frame in islice(VideoFile(path).frames('rgb'), 20):
            check_frame(frame)

    fuzz(damaged(good), read, 1, good=good, found=[b'RIFF', good[:200]])


def test_camera_info_message(fuzz):
    k, d = (554.0, 0.0, 319.5, 0.0, 554.0, 239.5, 0.0, 0.0, 1.0), (-0.3, 0.1, 0.0, 0.0, 0.0)
    good = (480, 640, *k, *d)

    def read(value):
        model, wrong, length, image_hw, region = value
        values = [wrong.get(i, v) for i, v in enumerate(good)]
        info = SimpleNamespace(header=HEADER, r=[0.0] * 9, p=[0.0] * 12, distortion_model=model)
        info.height, info.width = (int(v) if 0 <= v < 2**32 else 0 for v in values[:2])
        info.k, info.d = values[2:11], (values[11:] * 2)[:length]
        *roi, info.binning_x, info.binning_y = region
        names = ('x_offset', 'y_offset', 'width', 'height')
        info.roi = SimpleNamespace(**dict(zip(names, roi, strict=True)))
        messages.camera_info_values(info)
        camera = camera_info.camera_from_message(info, 'ir', image_hw)
        assert np.isfinite(camera.k).all()
        assert np.isfinite(camera.d).all()

    models = ('plumb_bob', 'rational_polynomial', 'equidistant', '', '\0')
    inputs = st.tuples(
        st.sampled_from(models),
        st.dictionaries(st.integers(0, len(good) - 1), floats, max_size=4),
        st.sampled_from((0, 1, 4, 5, 8, 10)),
        st.sampled_from((None, (480, 640), (240, 320), (1, 8192))),
        st.tuples(*[st.sampled_from((0, 0, 0, 1, 2, 320, 480, 640, 2**32 - 1))] * 6),
    )
    found = [('plumb_bob', {15: float('nan')}, 5, None, (0,) * 6)]
    found.append(('plumb_bob', {}, 0, (480, 640), (0, 0, 0, 0, 0, 640)))
    fuzz(inputs, read, 6, good=('plumb_bob', {}, 5, None, (0,) * 6), found=found)
