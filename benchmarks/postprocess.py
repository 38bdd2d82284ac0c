"""
Time the post-processing over thresholds and numbers of classes, without a network.

    OMP_NUM_THREADS=1 python -m benchmarks.postprocess

The anchor points of a 640x480 image. *scene*: 25 objects, each with many boxes around it.
*random*: all scores are random, which is more than any detector returns. Times are processor
times: other work on the machine hardly counts.
"""

from time import thread_time_ns

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.postprocess import detections
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment

SIZE_HW = (480, 640)
STRIDES = (8, 16, 32)
CLASSES = (3, 80)
THRESHOLDS = (0.4, 0.3, 0.1, 0.01, 0.0)
OBJECTS = 25
RUNS = 50


def raw_output(kind: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (A, 4) float32 boxes in pixels and (A, C) float32 scores of a made-up detector."""
    rng = np.random.default_rng(0)
    grids = (np.indices([side // s for side in SIZE_HW])[::-1] * s + s / 2 for s in STRIDES)
    points = np.concatenate([grid.reshape(2, -1).T for grid in grids])
    centers = rng.uniform(0, SIZE_HW[::-1], (OBJECTS, 2))
    sizes = rng.uniform(15, 150, (OBJECTS, 2))
    distance = (((points[:, None] - centers) / sizes * 2) ** 2).sum(-1)
    nearest, distance = distance.argmin(1), distance.min(1)
    middle = centers[nearest] + rng.normal(0, 2, points.shape)
    half = sizes[nearest] * np.exp(rng.normal(0, 0.08, points.shape)) / 2
    boxes_xyxy = np.hstack((middle - half, middle + half)).astype(np.float32)
    if kind == 'random':
        return boxes_xyxy, rng.random((len(points), classes), dtype=np.float32)
    logits = rng.normal(-8, 1, (len(points), classes))
    class_ids = rng.integers(0, classes, OBJECTS)[nearest]
    logits[np.arange(len(points)), class_ids] += 9 * np.exp(-distance / 2)
    return boxes_xyxy, (1 / (1 + np.exp(-logits))).astype(np.float32)


def measure(kind: str, classes: int, threshold: float) -> list[str]:
    """Return numbers of scores above the threshold and of boxes, p50 and p95 of the time [ms]."""
    boxes_xyxy, scores = raw_output(kind, classes)
    config = FusionConfig(score_threshold=threshold)
    times_ms = []
    for _ in range(RUNS):
        begun = thread_time_ns()
        found = detections(boxes_xyxy, scores, SIZE_HW, config, np.ones(classes, bool))
        times_ms.append(1e-6 * (thread_time_ns() - begun))
    times = (f'{ms:.2f}' for ms in np.percentile(times_ms, (50, 95)))
    return [str((scores >= threshold).sum()), str(len(found)), *times]


def main() -> None:
    """Print the table."""
    print(describe_environment(environment()))
    print('| scores | classes | threshold | above it | boxes | p50 [ms] | p95 [ms] |')
    print('|---|---|---|---|---|---|---|')
    for kind in ('scene', 'random'):
        for classes in CLASSES:
            for threshold in THRESHOLDS:
                row = measure(kind, classes, threshold)
                print(f'| {kind} | {classes} | {threshold:g} | ' + ' | '.join(row) + ' |')


if __name__ == '__main__':
    main()
