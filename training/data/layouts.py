"""Where published data sets keep their files, and which names belong to a split."""

from collections.abc import Container
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from itertools import compress
from itertools import product
from pathlib import Path
from pathlib import PureWindowsPath

import numpy as np

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.image_files import composed
from tdfusion_ros.formats.image_files import list_files
from tdfusion_ros.formats.image_files import SUFFIXES
from tdfusion_ros.formats.image_files import without_camera
from training.data.pair_files import Files
from training.data.pair_files import read_text


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
    """(format, place), format yolo, voc, kaist or coco; the first place that exists is used."""
    masks: str = ''
    classes: tuple[str, ...] = ()
    """Names of the box classes; empty: read from classes.txt, data.yaml or the COCO file."""
    mask_classes: tuple[str, ...] = ()
    """Names of the mask values, 0 first; empty: read from mask_classes.txt."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of the classes that label files in circulation use."""
    ignore_index: int = 255
    labeled: bool = True
    """Whether boxes and masks are required."""
    partial_masks: bool = False
    """Whether masks may be missing: the pixels of a pair without one are unlabeled."""
    lists: tuple[str, ...] = ('splits/{split}.txt',)
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
        ),
        masks=labels.replace('@', 'masks'),
        labeled=False,
    )


COCO_FILES = (
    *('annotations.json', '{split}/annotations.json', 'annotations/{split}.json'),
    'annotations/instances_{split}.json',
)
CAMERAS = (
    *product(('rgb', 'vi', 'vis', 'visible'), ('ir', 'lwir', 'infrared', 'thermal')),
    ('images', 'imagesIR'),
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
        if all(any(folders_of(root, place.replace('{split}', '*'))) for place in places):
            return layout
    if not root.is_dir():
        raise FusionError(f'{root} is not a folder: name the folder of a data set')
    entries = listed(sorted(path.name for path in root.iterdir()))
    raise FusionError(
        f'{root} is not a data set: expected the folders rgb and ir, or others in the table "Your '
        f'data" of docs/training.md; found {entries or "nothing"}: rename its folders'
    )


def pair_files(root: Path, layout: Layout, split: str) -> dict[str, Files]:
    """Return the rgb and the ir file of each name of a split, in order."""
    places = [place.replace('{split}', split) for place in (layout.rgb, layout.ir)]
    folders = [root / place for place in places]
    if '{split}' in layout.rgb and not folders[0].is_dir():
        depth = layout.rgb.split('/').index('{split}')
        found = sorted(root.glob(layout.rgb.replace('{split}', '*')))
        splits = ', '.join(path.relative_to(root).parts[depth] for path in found)
        raise FusionError(f'{folders[0]} is missing: choose one of the splits {splits}')
    rgb, ir = (files_of(root, place) if place else {} for place in places)
    names = split_names(root, layout, split, sorted({*rgb, *ir}))
    for place, folder, files in zip(places, folders, (rgb, ir), strict=True):
        if place:
            check_complete(names, files, folder)
    return {name: (rgb.get(name), ir.get(name)) for name in names}


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


def split_names(root: Path, layout: Layout, split: str, names: Sequence[str]) -> list[str]:
    """Return which names a split has: a folder's, a list's, a block's, or all."""
    if '{split}' in layout.rgb or split == 'all':
        chosen = list(names)
    elif split in ('blocks_train', 'blocks_val'):
        chosen = cut_blocks(names, split)
    else:
        paths = [root / place.replace('{split}', split) for place in layout.lists]
        path = next((path for path in paths if path.is_file()), None)
        if path is None and is_cut(root, layout, split):
            chosen = cut_blocks(names, f'blocks_{split}')
        elif path is None:
            raise FusionError(
                f'{paths[0]} is missing: write the names of the split into it, one per line, '
                'or use the split all, blocks_train or blocks_val'
            )
        else:
            chosen = _listed_names(path, names)
    if not chosen:
        raise FusionError(f'split {split} of {root} is empty: add pairs or use another split')
    return chosen


def is_cut(root: Path, layout: Layout, split: str) -> bool:
    """Return whether train and val of a data set without any split are contiguous blocks."""
    lists = any(any(root.glob(place.replace('{split}', '*'))) for place in layout.lists)
    return split in ('train', 'val') and '{split}' not in layout.rgb and not lists


def _listed_names(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names in a list, whose lines may be names, file names or paths, then boxes."""
    known = set(names)
    chosen: dict[str, None] = {}  # ordered
    twice: dict[str, None] = {}
    for line in filter(None, map(str.strip, read_text(path).splitlines())):
        whole, first = _stem(line), _stem(line.split()[0])
        ways = (line, whole, first, without_camera(whole), without_camera(first))
        name = next((one for one in ways if one in known), whole)
        (twice if name in chosen else chosen)[name] = None
    if twice:
        raise FusionError(f'{path} contains {listed(list(twice))} twice: delete one of each')
    return list(chosen)


def cut_blocks(names: Sequence[str], split: str, blocks: int = 20) -> list[str]:
    """
    Return the training or the validation part of names that number the frames of drives.

    Every fourth of ``blocks`` contiguous blocks is for validation, and training leaves out a
    tenth of a block on each side of it: a random split would put similar neighboring frames into
    both parts, which makes figures look better than they are.
    """
    val = np.arange(len(names)) * blocks // max(1, len(names)) % 4 == 3
    if split == 'blocks_val':
        return list(compress(names, val))
    gap = -(-len(names) // (10 * blocks))
    far = (not val[max(0, i - gap) : i + gap + 1].any() for i in range(len(names)))
    return list(compress(names, far))


def check_complete(names: Sequence[str], found: Container[str], place: Path) -> None:
    """Raise FusionError that lists the names that are not ``found`` in a place."""
    missing = [name for name in names if name not in found]
    if missing:
        raise FusionError(
            f'{place} lacks {listed(missing)} ({len(missing)} of {len(names)} are missing): files '
            'of a pair have the same name without suffix; add the file (of labels an empty one if '
            'there is no object), or remove the name'
        )


def _stem(name: str) -> str:
    # Not the stem alone: names may contain dots, and lists may contain file names or paths.
    path = PureWindowsPath(name)
    return composed(path.stem if path.suffix.lower() in SUFFIXES else path.name)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names for an error message: the first ones, and how many more there are."""
    more = f' and {len(names) - most} more' if names[most:] else ''
    return ', '.join(map(repr, names[:most])) + more
