"""What must be read exactly, or refused on one line, whatever the input."""

from damage import HOSTILE_YAML
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import yaml

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.raw_images import decode_raw
from tdfusion_ros.formats.raw_images import RawFormat

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
