"""Inputs that once did harm and must be refused early, or that must be read exactly."""

import struct

import cv2
from damage import HOSTILE_YAML
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from test_fuzz_images import chunk
import yaml

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.raw_images import decode_raw
from tdfusion_ros.formats.raw_images import RawFormat

JPEG = cv2.imencode('.jpg', np.zeros((16, 16), np.uint8))[1].tobytes()
SIZE_AT = JPEG.find(b'\xff\xc0') + 5


def with_huge_chunk():
    """Return a PNG that is right except for the length of its pixels."""
    size = chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 2, 8, 0, 0, 0, 0))
    pixels = b'\x7f' + chunk(b'IDAT', bytes(9))[1:]
    return b'\x89PNG\r\n\x1a\n' + size + pixels + chunk(b'IEND', b'')


def with_size(height, width):
    return JPEG[:SIZE_AT] + struct.pack('>HH', height, width) + JPEG[SIZE_AT + 4 :]


def with_hidden_size():
    """Return a huge JPEG that seems small if the lone mark FF D0 is taken for a segment."""
    first = b'\xff\xfe\xff\xff' + bytes(65530) + b'\xff\xe0\x00'  # ends in a second comment
    small = b'\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x00\x11\x00'
    second = (b'\xff\xfe\x03\xe8' + bytes(250) + small).ljust(1002, b'\0')
    return b'\xff\xd8\xff\xd0' + first + second + with_size(65535, 65535)[2:]


@pytest.mark.parametrize(
    ('data', 'cause'),
    [
        (with_huge_chunk(), 'truncated'),
        (with_hidden_size(), 'bad_size'),
        (b'\xff\xd8' + b'\xff' * 5_000_000 + b'\xff\xd9', 'truncated'),
    ],
    ids=['png chunk', 'hidden size', 'fill bytes'],
)
def test_tiny_file_of_a_huge_image_is_refused_before_opencv_allocates_it(data, cause, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('OpenCV was called'))
    with pytest.raises(FrameError) as caught:
        decode_image(np.frombuffer(data, np.uint8))
    assert caught.value.cause == cause


WORD = st.integers(0, 2**32 - 1) | st.integers(0, 40)


@given(WORD, WORD, WORD, st.booleans(), st.binary(max_size=600))
def test_raw_image_never_shows_bytes_that_are_not_its_own(height, width, step, big, data):
    for encoding in ('mono8', 'mono16', 'rgb8', 'bgra8'):
        try:
            layout = RawFormat(height, width, encoding, step, big)
            pixels = decode_raw(layout, np.frombuffer(data, np.uint8))
        except FrameError:
            continue
        assert pixels.shape[:2] == (height, width)
        first = pixels.reshape(height, width, -1)[0, 0]
        value = int.from_bytes(data[: pixels.itemsize], 'big' if big else 'little')
        assert value in (int(v) for v in first) or encoding == 'bgra8'


@pytest.mark.parametrize('text', [*HOSTILE_YAML, 'x' * 300_000], ids=lambda text: text[:20])
def test_hostile_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.text('abc ')
KEYS = st.text('abc', min_size=1)


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=20,
    )
)
def test_plain_yaml_is_read_as_by_the_safe_loader(value):
    text = yaml.safe_dump(value)
    if '*' not in text:
        assert read_yaml(text) == yaml.safe_load(text) == value


def test_error_is_a_line_that_a_terminal_and_a_log_can_show():
    text = str(FusionError('got ' + '\x1b[2J\x00\ud800\u202e' + 'x' * 100_000 + ' expected y'))
    assert text.isprintable()
    assert len(text) < 2100
    assert text.startswith('got \\x1b[2J\\x00\\ud800\\u202e')
    assert text.endswith('expected y')
