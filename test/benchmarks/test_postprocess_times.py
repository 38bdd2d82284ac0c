"""``python -m benchmarks.postprocess``: the times of the post-processing."""

import pytest

from benchmarks import postprocess


def test_the_table_has_a_row_for_each_case(capsys, monkeypatch):
    monkeypatch.setattr(postprocess, 'RUNS', 1)
    assert postprocess.main() == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert len(rows) == 1 + 2 * 3 * 3


@pytest.mark.parametrize('classes', [1, 80])
def test_each_object_of_the_made_up_scene_is_found_once(classes, monkeypatch):
    monkeypatch.setattr(postprocess, 'RUNS', 1)
    found = postprocess.measure('scene', classes, 0.3)
    assert postprocess.OBJECTS - 5 <= found['found'] <= postprocess.OBJECTS + 5
