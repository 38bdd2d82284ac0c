"""Average precision of many detectors on many inputs over one data set, in common classes."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.data import Detections
from training.data.classes import common_classes
from training.data.classes import correspondence
from training.data.classes import LEFT_OUT
from training.data.classes import with_classes
from training.data.datasets import Sample
from training.data.mixture import Data
from training.measure import predictors
from training.measure.bootstrap import bootstrap_difference
from training.measure.metrics import select
from training.measure.onnx_detector import OnnxDetector
from training.measure.onnx_detector import Raw
from training.measure.predictors import Change
from training.measure.predictors import Input
from training.measure.predictors import open_input
from training.method.task_networks import read_detector

NO_RGB, NO_IR = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)


@dataclass(frozen=True)
class Competitors:
    """What is compared: detectors that read any image, and those with an input of their own."""

    frozen: Mapping[str, OnnxDetector] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    own: Mapping[str, tuple[predictors.Predictor, tuple[str, ...]]] = field(default_factory=dict)
    """Predictor and class names."""

    def class_lists(self) -> list[tuple[str, ...]]:
        """Return the class names of each detector."""
        own = (names for _, names in self.own.values())
        return [*(detector.classes for detector in self.frozen.values()), *own]


def open_competitors(
    detectors: Sequence[str], bundles: Sequence[str], inputs: Sequence[str], change: Change
) -> Competitors:
    """
    Open what is compared.

    :param detectors: ONNX files, which read every input, and runs, which have their own.
    :param bundles: these have their own input, too. :param inputs: what ``open_input`` knows.
    """
    files = [name for name in detectors if Path(name).is_file()]
    runs = [name for name in detectors if name not in files]
    own = {n: (predictors.run_predictor(n, change), read_detector(n)[1]) for n in runs}
    for name in bundles:
        own[name] = (
            predictors.bundle_predictor(name, change),
            read_bundle(find_bundle(name)).contract.classes,
        )
    opened = {name: open_input(name, change) for name in inputs} if files else {}
    return Competitors({Path(name).stem: OnnxDetector(name) for name in files}, opened, own)


def detect(
    competitors: Competitors, data: Data, classes: Sequence[str]
) -> tuple[list[Sample], dict[tuple[str, ...], list[Detections]]]:
    """
    Return the labels, without images, and what each detector finds on each input.

    :param classes: the classes to find; others are left out of the labels and the detections.
    :returns: the second by detector and input; a detector with an input of its own by itself.
    """
    labels: list[Sample] = []
    found: dict[tuple[str, ...], list[Detections]] = {}
    for sample in tqdm(data, unit='pair', disable=None):
        size_hw = (sample.ir.shape[0], sample.ir.shape[1])
        for name, (predict, own_classes) in competitors.own.items():
            renamed = rename(predict(sample), own_classes, classes)
            found.setdefault((name,), []).append(renamed)
        for source, read in competitors.inputs.items():
            images = read(sample)
            for name, detector in competitors.frozen.items():
                raw = merge([detector(image) for image in images], detector.classes, classes)
                found.setdefault((name, source), []).append(select(*raw, size_hw))
        labels.append(relabel(sample, data.classes, classes))
    return labels, found


def merge(parts: Sequence[Raw], known: Sequence[str], classes: Sequence[str]) -> Raw:
    """Return all boxes with one score for each of ``classes``: the best of what counts as it."""
    boxes, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
    columns = [scores[:, kinds].max(1) for kinds in correspondence(known, classes)]
    return boxes, np.stack(columns, 1)


def relabel(sample: Sample, known: Sequence[str], classes: Sequence[str]) -> Sample:
    """Return the labels of a sample in ``classes``, without images to save memory."""
    labeled = sample.labeled
    if labeled is not None:  # a class is, if all that counts as it is
        labeled = np.array([labeled[one].all() for one in correspondence(known, classes)])
    ids = _new_ids(known, classes)
    return with_classes(sample, ids, rgb=NO_RGB, ir=NO_IR, mask=None, labeled=labeled)


def rename(found: Detections, known: Sequence[str], classes: Sequence[str]) -> Detections:
    """Return the detections in ``classes``; others are left out."""
    ids = _new_ids(known, classes)[found.class_ids]
    kept = ids != LEFT_OUT
    return Detections(found.boxes_xyxy[kept], found.scores[kept], ids[kept])


def _new_ids(known: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the index in ``classes`` of each known class, (C,) int64, or ``LEFT_OUT``."""
    ids = np.full(len(known), LEFT_OUT, np.int64)
    for new, kinds in enumerate(correspondence(known, classes)):
        ids[kinds] = new
    return ids


def measured_classes(competitors: Competitors, data: Data) -> tuple[tuple[str, ...], str]:
    """Return the classes to measure, what counts as them, and what is left out; or FusionError."""
    classes = common_classes(data.classes, *competitors.class_lists())
    ids = _new_ids(data.classes, classes)
    out = [name for name, new in zip(data.classes, ids, strict=True) if new == LEFT_OUT]
    merged = [[data.classes[i] for i in k] for k in correspondence(data.classes, classes)]
    pairs = zip(classes, merged, strict=True)
    words = [f'{name}: {" + ".join(kinds)}' for name, kinds in pairs if kinds != [name]]
    words += [f'left out: {", ".join(out)}'] if out else []
    return classes, '; '.join(words)


def differences(
    samples: Sequence[Sample],
    found: Mapping[tuple[str, ...], Sequence[Detections]],
    against: str,
    **how: Any,
) -> dict[tuple[str, ...], dict[str, float]]:
    """Return AP50 minus that on the input ``against``, as ``bootstrap_difference``."""
    return {
        key: bootstrap_difference(samples, one, found[key[0], against], **how)['all']
        for key, one in found.items()
        if len(key) > 1 and key[1] != against
    }
