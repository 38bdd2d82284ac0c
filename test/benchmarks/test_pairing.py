"""``python -m benchmarks.pairing``: our pairing and message_filters on the same arrivals."""

import sys

import pytest

from benchmarks import pairing


def run(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['pairing'])
    pairing.main()
    return capsys.readouterr().out.splitlines()[1:]


def test_missing_message_filters_are_said_in_every_scene(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'message_filters', None)
    lines = run(monkeypatch, capsys)
    assert sum('nearest' in line for line in lines) == len(pairing.SCENES)
    assert sum('is not installed' in line for line in lines) == len(pairing.SCENES)


def test_message_filters_pair_the_same_arrivals_where_they_are_installed(monkeypatch, capsys):
    pytest.importorskip('message_filters')
    lines = run(monkeypatch, capsys)
    for line in (line for line in lines if ' approximate ' in line):
        pairs, possible = (int(word) for word in line.split(' approximate ')[1].split()[:2])
        assert possible / 2 < pairs <= possible
