"""The names of what a detector detects."""

import ast
from collections.abc import Mapping
from pathlib import Path

from tdfusion_ros.core.errors import ModelError

_COCO = (
    'person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, '
    'fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, '
    'elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, '
    'skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, '
    'tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, '
    'sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, '
    'potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, '
    'cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, '
    'teddy bear, hair drier, toothbrush'
)
COCO = tuple(_COCO.split(', '))
"""The 80 classes of detectors trained on COCO, in the order of their outputs."""
_UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_NAMES = iter(COCO)
COCO_NUMBERS = tuple(f'unused {i}' if i in _UNUSED else next(_NAMES) for i in range(91))
"""The same by their numbers in COCO's files, for detectors with 91 outputs, as RF-DETR."""


def class_names(chosen: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return the class names of a detector, in the order of its outputs; empty if it says none.

    :param chosen: ``coco``, ``coco91``, a text file with one name per line, or empty: as ``names``
        of the metadata says, which Ultralytics writes as ``{0: 'person', ...}``.
    :raises ModelError: if there is no such file, or it has a name twice.
    """
    if chosen in ('coco', 'coco91'):
        return COCO if chosen == 'coco' else COCO_NUMBERS
    if chosen:
        try:
            lines = Path(chosen).read_text(encoding='utf-8').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f'the class names in {chosen} cannot be read: {error}') from None
        names = [line.strip() for line in lines if line.strip()]
        if len(set(names)) < len(names) or not names:
            raise ModelError(f'{chosen} must have one name per line, each once')
        return tuple(names)
    try:
        names = ast.literal_eval(metadata.get('names', '()'))
        names = [names[i] for i in range(len(names))]
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
        return ()
    return tuple(f'{name} {i}' if name in names[:i] else str(name) for i, name in enumerate(names))
