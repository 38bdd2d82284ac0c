"""Where data sets, published ones and one's own, keep their files."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from itertools import product
import os
from pathlib import Path

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.image_files import list_files
from tdfusion_ros.formats.image_files import SUFFIXES


@dataclass(frozen=True)
class Layout:
    """
    Folders and files of a data set, relative to its root; ``{split}`` is replaced.

    Where a place has wildcards, names start with what they stand for: ``set00/V000/I00001``.
    """

    name: str
    rgb: str
    """Empty, as ``ir`` may be: there is no such camera, its images are black."""
    ir: str
    boxes: tuple[tuple[str, str], ...] = ()
    """(format, place), a format of ``boxes.FILES``; the first place that has files is used."""
    masks: str = ''
    classes: tuple[str, ...] = ()
    """Names of the box classes; empty: read from classes.txt, data.yaml or the COCO file."""
    mask_classes: tuple[str, ...] = ()
    """Names of the mask values, 0 first; empty: read from mask_classes.txt."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of the classes that label files in circulation use."""
    ignore_index: int = 255
    partial_masks: bool = False
    """Whether masks may be missing: the pixels of a pair without one are unlabeled."""
    lists: tuple[str, ...] = ('splits/{split}.txt', '{split}.txt')
    """Files with one name per line, for data sets whose splits are not folders."""
    required: tuple[str, ...] = ()
    """Places that must exist besides rgb and ir to recognize the layout."""
    day_night: bool = False
    """Whether names end in D or N."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(', '))


MSRS_MASKS = _names('background, car, person, bike, curve, car stop, guardrail, color cone, bump')
MSRS_DET = Layout(
    'msrs_det',
    rgb='vi',
    ir='ir',
    boxes=(('yolo', 'boxes/fusion'),),
    masks='masks',
    partial_masks=True,
    classes=_names('person, bicycle, car'),
    mask_classes=MSRS_MASKS,
    required=('boxes/fusion',),
    day_night=True,
)
MSRS = Layout(
    'msrs',
    rgb='{split}/vi',
    ir='{split}/ir',
    masks='{split}/Segmentation_labels',
    mask_classes=MSRS_MASKS,
    required=('{split}/Segmentation_labels',),
    day_night=True,
)
# Order of the classes: github.com/JinyuanLiu-CV/SegMiF issue 10.
FMB = Layout(
    'fmb',
    rgb='{split}/Visible',
    ir='{split}/Infrared',
    masks='{split}/Label',
    mask_classes=_names(
        'background, road, sidewalk, building, lamp, sign, vegetation, sky, person, car, truck, '
        'bus, motorcycle, bicycle, pole'
    ),
)
M3FD = Layout(
    'm3fd',
    rgb='Vis',
    ir='Ir',
    boxes=(('voc', 'Annotation'), ('voc', 'Annotations'), ('yolo', 'labels')),
    classes=_names('people, car, bus, lamp, motorcycle, truck'),
    aliases={'light': 'lamp', 'moto': 'motorcycle', 'trunk': 'truck'},
    lists=('splits/{split}.txt', 'meta/{split}.txt'),
)
LLVIP = Layout(
    'llvip',
    rgb='visible/{split}',
    ir='infrared/{split}',
    boxes=(('voc', 'Annotations'),),
    classes=('person',),
    required=('Annotations',),
)
KAIST = Layout(
    'kaist',
    rgb='set*/V*/visible',
    ir='set*/V*/lwir',
    boxes=(('kaist', 'annotations/set*/V*'),),
    classes=('person',),
    lists=('splits/{split}.txt', 'imageSets/{split}.txt'),
)
KAIST_IMAGES = replace(KAIST, rgb=f'images/{KAIST.rgb}', ir=f'images/{KAIST.ir}')


def _own_layout(rgb: str, ir: str, place: str) -> Layout:
    """Return a layout of one's own data; ``@`` in ``place`` stands for the folder of a camera."""
    labels = place if place.startswith('{split}') else '@/{split}' if '{split}' in place else '@'
    beside = f'labels/{place.removeprefix("images/")}'.replace('@', rgb)  # as the tools of YOLO
    boxes = (beside, labels.replace('@', 'labels'), 'labels', 'boxes')
    return Layout(
        'pairs',
        rgb=place.replace('@', rgb),
        ir=place.replace('@', ir),
        boxes=(
            *(('coco', each) for each in COCO_FILES),
            *(('yolo', each) for each in boxes),
            ('voc', labels.replace('@', 'Annotations')),
            *(('labelimg', place.replace('@', rgb)), ('voc', place.replace('@', rgb))),
        ),
        masks=labels.replace('@', 'masks'),
    )


COCO_FILES = (
    *('annotations.json', '{split}/annotations.json', 'annotations/{split}.json'),
    *('annotations/instances_{split}.json', 'annotations/instances_default.json'),  # CVAT
    '{split}/_annotations.coco.json',  # Roboflow
)
CASES = (str.lower, str.upper, str.capitalize)
CAMERAS = (
    *product(
        [case(name) for name in ('rgb', 'vi', 'vis', 'visible') for case in CASES],
        [case(name) for name in ('ir', 'lwir', 'infrared', 'thermal') for case in CASES],
    ),
    *(('images', 'imagesIR'), ('images', 'images_ir')),
)
"""Names of the folders of both cameras."""
PLACES = ('images/@/{split}', 'images/@', 'images/{split}/@', '@/{split}', '@', '{split}/@')
"""Where these are; a place comes before those that its folders would fit, too."""
OWN = tuple(_own_layout(*cameras, place) for place in PLACES for cameras in CAMERAS)
LAYOUTS = (MSRS_DET, MSRS, FMB, M3FD, LLVIP, KAIST, KAIST_IMAGES, *OWN)


def one_camera(root: Path, camera: str) -> Layout:
    """Return the layout of a folder with images of ``rgb`` or ``ir`` alone."""
    plain = [layout for layout in OWN if '{split}' not in layout.rgb]
    found = (layout for layout in plain if (root / getattr(layout, camera)).is_dir())
    chosen = next(found, _own_layout('rgb', 'ir', '@'))
    return replace(chosen, ir='') if camera == 'rgb' else replace(chosen, rgb='')


def find_layout(root: Path) -> Layout:
    """Return the layout whose folders ``root`` has."""
    for layout in LAYOUTS:
        places = (layout.rgb, layout.ir, *layout.required)
        found = [folders_of(root, place.replace('{split}', '*')) for place in places]
        if all(map(any, found[2:])) and all(any(map(has_images, one)) for one in found[:2]):
            return layout
    if not root.is_dir():
        raise FusionError(f'{root} is not a folder: name the folder of a data set')
    folders = sorted(Path(folder) for folder, _, _ in os.walk(root))
    found_in = listed([str(one.relative_to(root)) for one in folders if has_images(one)], 6)
    raise FusionError(
        f'{root} is not a data set: expected images in the folders rgb and ir, or in others of '
        f'the table "Your data" of docs/training.md, found them in {found_in or "no folder"}: '
        'rename the folders, or move the images'
    )


def has_images(folder: Path) -> bool:
    """Return whether a folder contains an image."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def folders_of(root: Path, place: str) -> Iterator[Path]:
    """Yield the folders of a place, whose parts may have wildcards, in order."""
    return filter(Path.is_dir, sorted(root.glob(place)))


def files_of(root: Path, place: str, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """Return the files of a place by name: the stem, after what the wildcards stand for."""
    if '*' not in place:
        return list_files(root / place, suffixes)
    wild = [i for i, part in enumerate(place.split('/')) if '*' in part]
    found: dict[str, Path] = {}
    for folder in folders_of(root, place):
        parts = folder.relative_to(root).parts
        files = list_files(folder, suffixes).items()
        found |= {'/'.join((*(parts[i] for i in wild), stem)): path for stem, path in files}
    return found


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names for an error message: the first ones, and how many more there are."""
    more = f' and {len(names) - most} more' if names[most:] else ''
    return ', '.join(map(repr, names[:most])) + more
