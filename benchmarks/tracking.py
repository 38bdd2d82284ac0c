"""
Count the people found and how often their ids change, with and without the tracker, and time it.

    OMP_NUM_THREADS=1 python -m benchmarks.tracking [--clips DIR] [--score 0.5]

The demo bag, also with a thermal camera that stalls for 0.7 s in every 3 s; with DIR (``vi/`` and
``ir/`` of M3SVD's ``Video/test``), three whole clips of 30 Hz, and every third frame of them: from
the first, the second and the third frame on, summed.
``m3svd_people.json`` has the people who are large enough to be told apart by eye, in keyframes of
the clips, 3 to 16 frames apart: [frame, left, top, right, bottom], null where somebody is hidden.
The boxes are detections that were assigned to people by eye, or drawn by hand; the frames between
are interpolated.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from itertools import pairwise
import json
from pathlib import Path
from time import thread_time_ns

import numpy as np

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.core.tracker import centered
from tdfusion_ros.core.tracker import overlaps
from tdfusion_ros.core.tracker import Tracker
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.formats.videos import VideoSource
from tdfusion_ros.tools.bench.benchmark import demo_bag
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment
from training import shell

CONFIG = FusionConfig(backend='cpu')
PEOPLE = json.loads(Path(__file__).with_name('m3svd_people.json').read_text())
CLIP, FIRST_FRAME = '0117_1605', 117  # of the demo bag, see demo/README.md
CLIP_HZ = 30
STALL = range(20, 27)  # of each 30 frames of the demo bag
MATCH = 0.5  # smallest IoU of a person and a detection
COUNTS = (1, 10, 50, 100)
RUNS = 300
Frames = list[tuple[int, int, Detections]]  # frame of the clip, stamp [ns], detections


def detect(config: FusionConfig, pairs: Iterable[FramePair], first_frame: int) -> Frames:
    """Return what is detected in each pair; without a tracker the id is the place in the list."""
    pipeline, found = build_pipeline(config), Frames()
    for pair in pairs:
        at_ns = pair.reference.stamp_ns
        passed_ns = at_ns - found[0][1] if found else 0
        frame = first_frame + round(passed_ns * CLIP_HZ / 1e9)
        detections = pipeline.process_pair(pair).detections
        if detections.ids is None:
            detections = replace(detections, ids=1 + np.arange(len(detections)))
        found.append((frame, at_ns, detections))
    return found


def stalling(pairs: Iterable[FramePair]) -> Iterator[FramePair]:
    """Yield what the pairs become while the thermal camera repeats an image for 0.7 of 3 s."""
    synchronizer, last = Synchronizer(CONFIG), None
    for number, pair in enumerate(pairs):
        assert pair.rgb is not None
        assert pair.ir is not None
        if last is None or number % 30 not in STALL:
            last = pair.ir
        yield from synchronizer.push('rgb', pair.rgb)
        yield from synchronizer.push('ir', replace(last, stamp_ns=pair.ir.stamp_ns))
    yield from synchronizer.finish()


def people_at(clip: str, frame: int) -> dict[str, list[float]]:
    """Return the boxes of the people whom a frame shows, by name."""
    boxes = {}
    for name, keyframes in PEOPLE[clip].items():
        for first, second in pairwise(keyframes):
            if first and second and first[0] <= frame <= second[0]:
                weight = (frame - first[0]) / (second[0] - first[0])
                boxes[name] = ((1 - weight) * np.array(first) + weight * np.array(second))[1:]
    return boxes


def count(clip: str, frames: Frames) -> Counter[str]:
    """Return how often the id of a person changes, and what belongs to it (CLEAR MOT)."""
    latest: dict[str, int] = {}
    found: Counter[tuple[str, int]] = Counter()
    switches = shown = 0
    for frame, _, detections in frames:
        people = people_at(clip, frame)
        shown += len(people)
        names, boxes = list(people), centered(np.array(list(people.values())).reshape(-1, 4))
        iou = overlaps(boxes, centered(detections.boxes_xyxy), np.zeros(len(boxes)))
        ids = [row[-1] for row in detections.rows()]
        # As in CLEAR MOT, an assignment that still holds is kept.
        pairs = sorted(
            (latest.get(names[i]) != ids[j], -iou[i, j], names[i], ids[j])
            for i, j in np.argwhere(iou >= MATCH)
        )
        assigned: dict[str, int] = {}
        for _, _, name, number in pairs:
            if name not in assigned and number not in assigned.values():
                assigned[name] = number
        switches += sum(latest.get(name, number) != number for name, number in assigned.items())
        found.update(assigned.items())
        latest |= assigned
    main = sum(max(n for (other, _), n in found.items() if other == name) for name in latest)
    numbers = {'people': len(latest), 'shown': shown, 'found': found.total(), 'main': main}
    return Counter({**numbers, 'switches': switches, 'ids': len(found)})


def scenes(clips: Path | None, config: FusionConfig) -> Iterator[tuple[str, str, list[Frames]]]:
    """Yield the name of each scene, its clip and what is detected in one or several runs."""
    for text, change in (('demo bag, 10 Hz', iter), ('the same, ir stalls', stalling)):
        with BagReader(demo_bag()) as reader:
            pairs = change(BagSource(reader, reader.find(), config))
            yield text, CLIP, [detect(config, pairs, FIRST_FRAME)]
    for clip in PEOPLE if clips else ():
        rgb, ir = (Path(clips or '', one, f'{clip}.mp4') for one in ('vi', 'ir'))
        for text, step in (('30 Hz', 1), ('10 Hz, 3 runs', 3)):
            runs = []
            for start in range(step):
                pairs = islice(VideoSource(rgb, ir, config), start, None, step)
                runs.append(detect(config, pairs, start))
            yield f'{clip}, {text}', clip, runs


def cost_ms(detections: int) -> list[float]:
    """Return p50 and p95 of the processor time for an image with this many objects [ms]."""
    rng = np.random.default_rng(0)
    places, sizes = rng.uniform(0, (640, 480), (detections, 2)), rng.uniform(20, 100)
    speeds, tracker, times_ms = rng.normal(0, 1, (detections, 2)), Tracker(), []
    for image in range(RUNS):
        places = places + speeds
        boxes = np.hstack((places, places + sizes)).astype(np.float32)
        found = Detections(boxes, np.ones(len(boxes)), np.zeros(len(boxes), np.int64))
        begun = thread_time_ns()
        tracker.update(found, 10**18 + image * 33_333_333)
        times_ms.append(1e-6 * (thread_time_ns() - begun))
    return np.percentile(times_ms, (50, 95)).tolist()


def main() -> None:
    """Print both tables."""
    parser = shell.parser('benchmarks.tracking', __doc__)
    parser.add_argument('--clips', type=Path, help='folder with the clips of M3SVD')
    default = CONFIG.score_threshold
    parser.add_argument('--score', type=float, default=default, help="default: the node's")
    options = parser.parse_args()
    config = replace(CONFIG, score_threshold=options.score)
    print(describe_environment(environment()))
    print('| scene | people | boxes of them | tracker | found | switches | ids | main id |')
    print('|---|---|---|---|---|---|---|---|')
    kinds = [scenes(options.clips, replace(config, tracker=kind)) for kind in ('none', 'iou')]
    for scene in zip(*kinds, strict=True):
        for tracker, (text, clip, runs) in zip(('none', 'iou'), scene, strict=True):
            row = sum((count(clip, frames) for frames in runs), Counter[str]())
            columns = [text, row['people'], row['shown'], tracker, row['found']]
            columns += [row['switches'], row['ids'], f'{100 * row["main"] / row["found"]:.0f} %']
            print('| ' + ' | '.join(map(str, columns)) + ' |')
    print('\n| objects | p50 [ms] | p95 [ms] |\n|---|---|---|')
    for detections in COUNTS:
        print(f'| {detections} | ' + ' | '.join(f'{ms:.2f}' for ms in cost_ms(detections)) + ' |')


if __name__ == '__main__':
    shell.run('tracking', main)
