"""``python -m benchmarks.tracking``: what it counts, on detections that are known."""

import sys

import numpy as np
import pytest

from benchmarks import tracking
from tdfusion_ros.core.data import Detections


def frames(clip, ids_of, seen=lambda name, frame: True):
    """Return the people of a clip as detections; ``ids_of`` gives the id for name and frame."""
    made = []
    for frame in range(0, 400, 3):
        people = {n: b for n, b in tracking.people_at(clip, frame).items() if seen(n, frame)}
        ids = np.array([ids_of(name, frame) for name in people], np.int64)
        boxes = np.array(list(people.values()), np.float32).reshape(-1, 4)
        found = Detections(boxes, np.ones(len(ids), np.float32), ids * 0, ids=ids)
        made.append((frame, 10**18 + frame * 33_333_333, found))
    return made


@pytest.mark.parametrize('clip', tracking.PEOPLE)
def test_each_change_of_an_id_is_counted_once(clip):
    names = list(tracking.PEOPLE[clip])
    good = tracking.count(clip, frames(clip, lambda name, frame: 1 + names.index(name)))
    assert good['people'] == good['ids'] == len(names)
    assert good['found'] == good['shown'] > 100
    assert (good['switches'], good['main']) == (0, good['found'])

    keyframes = tracking.PEOPLE[clip][names[0]]
    middle = keyframes[len(keyframes) // 2][0]

    def swapped(name, frame):
        return 1 + names.index(name) + 10 * (frame >= middle) * (name == names[0])

    bad = tracking.count(clip, frames(clip, swapped))
    assert (bad['switches'], bad['ids']) == (1, 1 + len(names))
    assert good['shown'] / 2 < bad['main'] < bad['found'] == good['found']


def test_a_person_who_is_not_found_for_a_while_changes_no_id():
    clip = tracking.CLIP
    names = list(tracking.PEOPLE[clip])
    row = tracking.count(
        clip,
        frames(clip, lambda name, frame: 1 + names.index(name), lambda name, at: at % 60 < 40),
    )
    assert row['switches'] == 0
    assert row['found'] < row['shown']


def test_the_tables_have_a_row_for_each_scene_and_number_of_objects(capsys, monkeypatch):
    clip = tracking.CLIP
    scene = 'made', clip, [frames(clip, lambda name, frame: 1)] * 2
    monkeypatch.setattr(tracking, 'scenes', lambda *_: iter([scene]))
    monkeypatch.setattr(tracking, 'build_pipeline', lambda config: None)
    monkeypatch.setattr(tracking, 'RUNS', 2)
    monkeypatch.setattr(sys, 'argv', ['tracking'])
    tracking.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert [row.split(' | ')[4] for row in rows[1:3]] == ['places in the list', 'tracked']
    assert len(rows) == 3 + 1 + len(tracking.COUNTS)
