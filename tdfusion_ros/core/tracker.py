"""
Track detections: an object keeps its id from image to image.

Tracking by detection: a Kalman filter of constant velocity predicts where each object is, and the
boxes of the next image are assigned by their overlap with the predictions (Bewley et al., SORT,
2016; boxes grow as in C-BIoU, Yang et al., 2023). Time is counted in seconds of the stamps, so
cameras of 9 and 30 Hz give the same ids. Boxes, scores and classes stay as detected.

An object that was seen well is still reported when an image shows it less well: half turned away,
behind a pole (after ByteTrack, Zhang et al., 2022). So people do not blink, and a higher threshold
finds as many of them with fewer mistakes.
"""

from dataclasses import replace

import numpy as np

from tdfusion_ros.core.data import Detections

KEEP_S = 2.0  # an object that is not detected for longer gets a new id
MAX_OBJECTS = 500  # remembered at once; those that were seen last
MIN_OVERLAP = 0.25  # of a prediction and a box, both grown by the uncertainty of the prediction
OTHER_CLASS = 0.6  # the overlap with a box of another class counts this much
WEAK = 0.5  # of the threshold: scores below are never reported
MEAN_S = 1.0  # over which the score of an object is averaged
APART = 0.3  # IoU with a sure box of the class; a weak box with more is often the same object
# Relative to the size of the object: error of a sure and a weak box, speed of a new object [1/s],
# and how fast the speed changes [1/s^1.5]. A person walks 0.8 body heights in a second.
BOX_ERROR, WEAK_BOX_ERROR, NEW_SPEED, SPEED_CHANGE = 0.07, 0.2, 0.8, 0.8

# ``score``: the mean over about MEAN_S; ``box``: center x, y, width, height [px]; ``speed`` of the
# center [px/s]; ``unseen_s``: since it was detected last; ``spread``: (variance of the position,
# covariance, variance of the speed) relative to the size.
TRACK = np.dtype(
    [
        ('id', np.int64),
        ('class_id', np.int64),
        ('score', np.float64),
        ('unseen_s', np.float64),
        ('box', np.float64, 4),
        ('speed', np.float64, 2),
        ('spread', np.float64, 3),
    ]
)


class Tracker:
    """Link the detections of consecutive images; no id is used twice."""

    def __init__(self) -> None:
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all objects; they get new ids."""
        self._tracks = np.zeros(0, TRACK)
        self._stamp_ns = 0

    def update(
        self, found: Detections, stamp_ns: int, threshold: float = 0.0, *, stale: bool = False
    ) -> Detections:
        """
        Return the detections of the next image that are to be reported, with their ids.

        :param found: of scores of WEAK * threshold and more, best first; without temperatures.
        :param stamp_ns: when the image was taken [ns]. If it is earlier than the last one by more
            than KEEP_S, as when a bag loops, all objects are forgotten.
        :param threshold: scores of at least this are reported, and begin a new object; lower ones
            are reported if they belong to an object whose mean score is not lower.
        :param stale: whether boxes may be where objects were earlier: they do not correct the
            places and speeds of the objects.
        """
        elapsed_s = (stamp_ns - self._stamp_ns) / 1e9
        self._stamp_ns = stamp_ns
        tracks = self._tracks if elapsed_s >= -KEEP_S else self._tracks[:0]
        tracks = _predicted(tracks, max(0.0, elapsed_s))
        found = _without_repeats(found, threshold)
        sure = found.scores >= threshold
        boxes = centered(found.boxes_xyxy)
        of_track, of_box = _assigned(tracks, boxes, found.class_ids, sure)
        _average(tracks, of_track, found.scores[of_box])
        if stale:
            tracks['unseen_s'][of_track] = 0.0
        else:
            error = np.where(sure, BOX_ERROR, WEAK_BOX_ERROR)
            _correct(tracks, of_track, boxes[of_box], found.class_ids[of_box], error[of_box])
        is_new = sure.copy()
        is_new[of_box] = False
        new = np.zeros(is_new.sum(), TRACK)
        new['id'] = self._next_id + np.arange(len(new))
        new['class_id'], new['score'] = found.class_ids[is_new], found.scores[is_new]
        new['box'], new['spread'] = boxes[is_new], (BOX_ERROR**2, 0.0, NEW_SPEED**2)
        self._next_id += len(new)
        ids = np.zeros(len(found), np.int64)
        ids[of_box], ids[is_new] = tracks['id'][of_track], new['id']
        shown = sure.copy()
        shown[of_box] |= tracks['score'][of_track] >= threshold
        tracks = np.concatenate((tracks, new))
        self._tracks = tracks[np.argsort(tracks['unseen_s'], kind='stable')[:MAX_OBJECTS]]
        return replace(_selected(found, shown), ids=ids[shown])


def _predicted(tracks: np.ndarray, elapsed_s: float) -> np.ndarray:
    """Return the tracks that are not too old after this time, where they are then."""
    tracks = tracks[tracks['unseen_s'] + elapsed_s <= KEEP_S]
    tracks['unseen_s'] += elapsed_s
    tracks['box'][:, :2] += elapsed_s * tracks['speed']
    place, both, speed = tracks['spread'].T  # views
    noise = SPEED_CHANGE**2 * elapsed_s
    place += elapsed_s * (2 * both + elapsed_s * (speed + noise / 3))
    both += elapsed_s * (speed + noise / 2)
    speed += noise
    return tracks


def _without_repeats(found: Detections, threshold: float) -> Detections:
    """Return the detections without weak boxes at sure ones: often second boxes of objects."""
    sure = found.scores >= threshold
    if sure.all():
        return found
    boxes, ids = centered(found.boxes_xyxy), found.class_ids
    overlap = overlaps(boxes[sure], boxes, np.zeros(sure.sum()))
    return _selected(found, sure | ~((overlap > APART) & (ids[sure, None] == ids)).any(0))


def _selected(found: Detections, chosen: np.ndarray) -> Detections:
    return Detections(found.boxes_xyxy[chosen], found.scores[chosen], found.class_ids[chosen])


def _assigned(
    tracks: np.ndarray, boxes: np.ndarray, class_ids: np.ndarray, sure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of tracks and of their boxes, each at most once; first the sure boxes."""
    spread = np.sqrt(tracks['spread'][:, 0])
    overlap = overlaps(tracks['box'], boxes, spread)
    same = tracks['class_id'][:, None] == class_ids
    overlap *= np.where(same, 1.0, np.where(sure, OTHER_CLASS, 0.0))
    rows, columns = np.nonzero(overlap > MIN_OVERLAP)
    # The best first; of an object that was not seen for a while almost any box is near.
    order = np.lexsort((spread[rows] - overlap[rows, columns], ~sure[columns]))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return np.array(list(pairs), np.intp), np.array(list(pairs.values()), np.intp)


def overlaps(tracks: np.ndarray, boxes: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """
    Return the IoU of each track with each box, (T, N).

    :param tracks, boxes: (T, 4) and (N, 4): center x, y, width, height [px].
    :param spread: (T,), how uncertain the place of a track is, relative to its size: both boxes
        grow by this much on each side.
    """
    growth = 1 + 3 * spread[:, None]
    common = np.ones((len(tracks), len(boxes)))
    for axis in (0, 1):
        size_1, size_2 = growth * tracks[:, 2 + axis, None], growth * boxes[:, 2 + axis]
        reach = (size_1 + size_2) / 2 - np.abs(tracks[:, axis, None] - boxes[:, axis])
        common *= np.clip(np.minimum(reach, np.minimum(size_1, size_2)), 0, None)
    areas = growth**2 * (tracks[:, 2:].prod(1)[:, None] + boxes[:, 2:].prod(1))
    result: np.ndarray = common / (areas - common)
    return result


def centered(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return center x, y, width, height of (N, 4) boxes left, top, right, bottom, as float64."""
    first, second = np.split(np.asarray(boxes_xyxy, np.float64), 2, axis=1)
    return np.hstack(((first + second) / 2, second - first))


def _average(tracks: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> None:
    """Move the mean scores of these tracks toward the scores that were found."""
    one = tracks[rows]
    share = 1 - np.exp(-one['unseen_s'] / MEAN_S)
    tracks['score'][rows] = one['score'] + share * (scores - one['score'])


def _correct(
    tracks: np.ndarray,
    rows: np.ndarray,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    errors: np.ndarray,
) -> None:
    """Move tracks toward the boxes that were found, by the gain of the Kalman filter."""
    one = tracks[rows]
    place, both, speed = one['spread'].T
    gain = place / (place + errors**2)
    speed_gain = both / (place + errors**2)
    change = boxes - one['box']
    one['box'] += gain[:, None] * change
    one['speed'] += speed_gain[:, None] * change[:, :2]
    one['spread'] = np.stack(((1 - gain) * place, (1 - gain) * both, speed - speed_gain * both), 1)
    one['class_id'], one['unseen_s'] = class_ids, 0.0
    tracks[rows] = one
