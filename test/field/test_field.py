"""Real situations: each entry of the tables in ``rows_*.py`` is a test."""

import re

import pytest
import rows_bags
import rows_codecs
import rows_commands
import rows_jpeg

# What a camera, bag or data set was like (who reported it, or which product does it): a function
# that makes the input in the current folder, a new one, and returns what the product said, and a
# regular expression of a part of that text, in which a dot is any character.
TABLES = rows_bags.ROWS, rows_codecs.ROWS, rows_commands.ROWS, rows_jpeg.ROWS
ROWS = [(situation, *row) for table in TABLES for situation, row in table.items()]


@pytest.mark.parametrize(('run', 'expected'), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_product_reacts_rightly_to_a_real_situation(run, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run()
    assert re.search(expected, said, re.DOTALL), said
