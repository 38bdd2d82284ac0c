"""Real situations: each row of the tables in ``rows_*.py`` is a test."""

from collections import Counter
import re

import pytest
from row import rows

ROWS = rows()


@pytest.mark.parametrize('row', ROWS, ids=[row.situation for row in ROWS])
def test_product_reacts_rightly_to_a_real_situation(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = row.run()
    assert re.search(row.expected, said, re.DOTALL), said


def test_each_situation_is_described_once():
    assert not [name for name, n in Counter(row.situation for row in ROWS).items() if n > 1]
