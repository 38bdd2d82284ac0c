"""Names of classes in different data sets and detectors, and how they correspond."""

from collections.abc import Sequence

from tdfusion_ros.core.errors import FusionError

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
COMMON = {
    'person': ('person', 'people', 'pedestrian'),
    'bicycle': ('bicycle', 'bike'),
    'car': ('car', 'bus', 'truck', 'trunk', 'van', 'othervehicle'),
}
"""The classes of the shipped detector, and what other data sets call or divide them."""


def common_classes(*lists: Sequence[str]) -> tuple[str, ...]:
    """
    Return the classes in which detectors and a data set can be compared.

    :param lists: the class names of each; equal lists are compared as they are.
    :raises FusionError: if nothing is common.
    """
    first = tuple(lists[0])
    if all(tuple(names) == first for names in lists):
        return first
    known = [{name.lower() for name in names} for names in lists]
    common = tuple(name for name, kinds in COMMON.items() if all(k & {*kinds} for k in known))
    if not common:
        every = '; '.join(', '.join(names) for names in lists)
        raise FusionError(f'no class is common to {every}: use other data or another detector')
    return common


def correspondence(known: Sequence[str], classes: Sequence[str]) -> list[list[int]]:
    """Return for each of ``classes`` the indices in ``known`` of what counts as it."""
    if tuple(known) == tuple(classes):
        return [[index] for index in range(len(known))]
    kinds = [COMMON.get(name, (name,)) for name in classes]
    return [[i for i, one in enumerate(known) if one.lower() in kind] for kind in kinds]
