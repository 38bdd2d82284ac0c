"""Small bags whose every number is known, and a reader for what a report says."""

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.tools.view.report import render_report

BEGIN_NS = 1_700_000_000_000_000_000
TYPES = bag_types()


class Said(HTMLParser):
    """What a page says: its text, its tables, its tags and their attributes."""

    def __init__(self, page):
        super().__init__()
        self.page, self.tags, self.attributes = page, [], []
        self.words, self.tables, self._in = [], [], []
        self.feed(page)
        self.text = ' '.join(self.words)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self._in.append(tag)
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data):
        if 'style' in self._in or not data.strip():
            return
        self.words.append(' '.join(data.split()))
        if {'td', 'th'} & set(self._in):
            self.tables[-1][-1].append(data)

    def table(self, title):
        """Return the rows of the table whose first column has this title, by that column."""
        (found,) = (rows for rows in self.tables if rows[0][0] == title)
        return {row[0]: dict(zip(found[0], row, strict=True)) for row in found[1:]}

    @property
    def pictures(self):
        return [value for tag, name, value in self.attributes if (tag, name) == ('img', 'src')]


def image(stamp_ns, pixels=None):
    """Return a message; six by eight pixels where none are given."""
    pixels = np.full((6, 8, 3), 90, np.uint8) if pixels is None else pixels
    return messages.image(TYPES, messages.header(TYPES, Frame(pixels, stamp_ns, 'cam')), pixels)


def detections(stamp_ns, found):
    """Return a message of [(class name, score)], each with the same box."""
    names = [name for name, _ in found]
    return messages.detection_array(
        TYPES,
        messages.header(TYPES, Frame(np.zeros((1, 1), np.uint8), stamp_ns)),
        Detections(
            np.array([(1, 1, 4, 5)] * len(found), np.float32).reshape(-1, 4),
            np.array([score for _, score in found], np.float32),
            np.arange(len(found)),
        ),
        names,
    )


def status(time_ns, values, level=0, message='fine', name='/tdfusion: inference'):
    """Return a diagnostics message of one status."""
    kind = 'diagnostic_msgs/msg/'
    pairs = [TYPES.get(kind + 'KeyValue')(key=k, value=str(v)) for k, v in values.items()]
    one = TYPES.get(kind + 'DiagnosticStatus')(
        level=level, name=name, message=message, hardware_id='msrs_rt', values=pairs
    )
    head = messages.header(TYPES, Frame(np.zeros((1, 1), np.uint8), time_ns))
    return TYPES.get(kind + 'DiagnosticArray')(header=head, status=[one])


@pytest.fixture(scope='session')
def make():
    """Return what makes the messages of a bag."""
    return SimpleNamespace(
        image=image, detections=detections, status=status, begin_ns=BEGIN_NS, said=Said
    )


@pytest.fixture
def said(tmp_path, write_bag):
    """Write records to a bag and return what its report says."""

    def read(records, inputs=None, **options):
        number = len(list(tmp_path.iterdir()))
        bag = write_bag(tmp_path / f'bag{number}', sorted(records, key=lambda r: r[1]))
        with BagReader(bag) as reader:
            if inputs is None:
                return Said(render_report(reader, **options))
            source = write_bag(tmp_path / f'inputs{number}', sorted(inputs, key=lambda r: r[1]))
            with BagReader(source) as other:
                return Said(render_report(reader, other, **options))

    return read
