"""``python -m benchmarks.postprocess``: the times of the post-processing."""

from benchmarks import postprocess


def test_the_table_has_a_row_for_each_case(capsys, monkeypatch):
    monkeypatch.setattr(postprocess, 'RUNS', 1)
    postprocess.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert len(rows) == 1 + 2 * len(postprocess.CLASSES) * len(postprocess.THRESHOLDS)
