"""Small bags with known contents, and a parser for the text of a report."""

from contextlib import ExitStack
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


class Page(HTMLParser):
    """The text, tables, tags and attributes of a page."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.attributes, self.words, self.tables = html, [], [], [], []
        self.feed(html)
        self.text = ' '.join(self.words)
        self.images = [
            value for tag, name, value in self.attributes if (tag, name) == ('img', 'src')
        ]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')

    def handle_data(self, data):
        words = ' '.join(data.split())
        if words and self.tags[-1] != 'style':
            self.words.append(words)
            if self.tags[-1] in ('td', 'th'):
                self.tables[-1][-1][-1] += words

    def table(self, title):
        """Return the rows of the table whose first column has this title, by that column."""
        (table,) = (rows for rows in self.tables if rows[0][0] == title)
        return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}


def header(stamp_ns):
    return messages.header(TYPES, Frame(np.zeros((1, 1), np.uint8), stamp_ns, 'cam'))


def image(stamp_ns, pixels=np.full((6, 8, 3), 90, np.uint8)):  # noqa: B008 - never changed
    return messages.image(TYPES, header(stamp_ns), pixels)


def detections(stamp_ns, found):
    """Return a message of [(class name, score)], all with the same box, numbered from 1."""
    boxes = np.array([(1, 1, 4, 5)] * len(found), np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in found], np.float32)
    names = [name for name, _ in found]
    every = Detections(boxes, scores, np.arange(len(found)), ids=1 + np.arange(len(found)))
    return messages.detection_array(TYPES, header(stamp_ns), every, names)


def status(time_ns, values, level=0, message='fine', name='/tdfusion: inference'):
    prefix = 'diagnostic_msgs/msg/'
    pairs = [TYPES.get(prefix + 'KeyValue')(key=k, value=str(v)) for k, v in values.items()]
    one = TYPES.get(prefix + 'DiagnosticStatus')(level, name, message, 'msrs_rt', pairs)
    return TYPES.get(prefix + 'DiagnosticArray')(header=header(time_ns), status=[one])


@pytest.fixture(scope='session')
def make():
    """Return functions that make messages, and the time at which the bags begin."""
    return SimpleNamespace(
        image=image, detections=detections, status=status, begin_ns=BEGIN_NS, page=Page
    )


@pytest.fixture
def view(tmp_path, write_bag):
    def render(records, inputs=None, **options):
        with ExitStack() as stack:
            readers = []
            for some in (records, inputs):
                if some is not None:
                    path = tmp_path / f'bag{len(list(tmp_path.iterdir()))}'
                    bag = write_bag(path, sorted(some, key=lambda record: record[1]))
                    readers.append(stack.enter_context(BagReader(bag)))
            return Page(render_report(*readers, **options))

    return render
