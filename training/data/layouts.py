"""Where the published data sets keep their files, and how a split becomes a list of names."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path

import numpy as np

from tdfusion_ros.core.errors import FusionError
from training.data.pair_files import read_text

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what; places are relative to its root, ``{split}`` is filled in."""

    name: str
    rgb: str
    ir: str
    boxes: tuple[tuple[str, str], ...] = ()
    """(format, place), format yolo, voc or coco; of several the first one that is there."""
    masks: str = ''
    classes: tuple[str, ...] = ()
    """Names of the boxes' classes; none: classes.txt or the COCO file says them."""
    mask_classes: tuple[str, ...] = ()
    """Names of the mask values, 0 first; none: mask_classes.txt says them."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of the classes, as label files in circulation use them."""
    ignore_index: int = 255
    labeled: bool = True
    """Whether boxes and masks must be there, or may."""
    lists: tuple[str, ...] = ('splits/{split}.txt',)
    """Files of names, one a line, for a data set whose splits are not folders."""
    needed: tuple[str, ...] = ()
    """What must be there besides rgb and ir, lest it is another layout."""
    day_night: bool = False
    """Whether names end in D or N."""


MSRS_DET = Layout(
    'msrs_det',
    rgb='vi',
    ir='ir',
    boxes=(('yolo', 'boxes/fusion'),),
    classes=('person', 'bicycle', 'car'),
    needed=('boxes/fusion',),
    day_night=True,
)
MSRS = Layout(
    'msrs',
    rgb='{split}/vi',
    ir='{split}/ir',
    masks='{split}/Segmentation_labels',
    mask_classes=(
        'background',
        'car',
        'person',
        'bike',
        'curve',
        'car stop',
        'guardrail',
        'color cone',
        'bump',
    ),
    day_night=True,
)
# Order as the authors gave it: github.com/JinyuanLiu-CV/SegMiF issue 10.
FMB = Layout(
    'fmb',
    rgb='{split}/Visible',
    ir='{split}/Infrared',
    masks='{split}/Label',
    mask_classes=(
        'background',
        'road',
        'sidewalk',
        'building',
        'lamp',
        'sign',
        'vegetation',
        'sky',
        'person',
        'car',
        'truck',
        'bus',
        'motorcycle',
        'bicycle',
        'pole',
    ),
)
M3FD = Layout(
    'm3fd',
    rgb='Vis',
    ir='Ir',
    boxes=(('voc', 'Annotation'), ('voc', 'Annotations'), ('yolo', 'labels')),
    classes=('people', 'car', 'bus', 'lamp', 'motorcycle', 'truck'),
    aliases={'light': 'lamp', 'moto': 'motorcycle', 'trunk': 'truck'},
    lists=('splits/{split}.txt', 'meta/{split}.txt'),
)
LLVIP = Layout(
    'llvip',
    rgb='visible/{split}',
    ir='infrared/{split}',
    boxes=(('voc', 'Annotations'),),
    classes=('person',),
)
PAIRS = Layout(
    'pairs',
    rgb='rgb',
    ir='ir',
    boxes=(('coco', 'annotations.json'), ('yolo', 'labels')),
    masks='masks',
    labeled=False,
)
PAIRS_VI = replace(PAIRS, rgb='vi', boxes=(*PAIRS.boxes, ('yolo', 'boxes')))
LAYOUTS = (MSRS_DET, MSRS, FMB, M3FD, LLVIP, PAIRS, PAIRS_VI)


def find_layout(root: Path) -> Layout:
    """Return the layout whose folders ``root`` has."""
    for layout in LAYOUTS:
        places = (layout.rgb, layout.ir, *layout.needed)
        if all(any(root.glob(place.replace('{split}', '*'))) for place in places):
            return layout
    known = '; '.join(f'{layout.rgb} and {layout.ir}' for layout in LAYOUTS)
    raise FusionError(f'{root} is no data set: data=FOLDER must point to one that has {known}')


def list_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """Return the files of a folder by stem; a stem must occur once, whatever the suffix."""
    if not folder.is_dir():
        raise FusionError(f'{folder} is missing: point data=FOLDER to a complete data set')
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and found.setdefault(path.stem, path) != path:
            raise FusionError(f'{found[path.stem]} and {path} have one stem: delete one of them')
    return found


def pair_files(root: Path, layout: Layout, split: str) -> dict[str, tuple[Path, Path]]:
    """Return the rgb and the ir file of each name of a split, in the order of the split."""
    folders = [root / place.replace('{split}', split) for place in (layout.rgb, layout.ir)]
    if '{split}' in layout.rgb and not folders[0].is_dir():
        there = sorted(root.glob(layout.rgb.replace('{split}', '*')))
        at = layout.rgb.split('/').index('{split}') - len(layout.rgb.split('/'))
        splits = ', '.join(path.parts[at] for path in there)
        raise FusionError(f'{folders[0]} is missing: there are the splits {splits}; take one')
    rgb, ir = (list_files(folder) for folder in folders)
    names = split_names(root, layout, split, sorted({*rgb, *ir}))
    for folder, files in zip(folders, (rgb, ir), strict=True):
        expect(names, files, folder)
    return {name: (rgb[name], ir[name]) for name in names}


def split_names(root: Path, layout: Layout, split: str, names: Sequence[str]) -> list[str]:
    """
    Return the names of a split.

    A split is a folder, or a file of names, or computed: all, blocks_train, blocks_val.

    :param names: all names of the folders.
    """
    if '{split}' in layout.rgb or split == 'all':
        chosen = list(names)
    elif split in ('blocks_train', 'blocks_val'):
        chosen = cut_blocks(names, split)
    else:
        paths = [root / place.replace('{split}', split) for place in layout.lists]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FusionError(
                f'{paths[0]} is missing: write the names of the split into it, one a line, '
                'or take the split all, blocks_train or blocks_val'
            )
        lines = read_text(path).splitlines()
        chosen = [_stem(line.split()[0]) for line in lines if line.strip()]
        if len(set(chosen)) != len(chosen):
            raise FusionError(f'{path} holds a name twice: delete it')
    if not chosen:
        raise FusionError(f'split {split} of {root} is empty: add pairs, or take another split')
    return chosen


def cut_blocks(names: Sequence[str], split: str, blocks: int = 20) -> list[str]:
    """
    Return the training or the validation part of names that number the frames of drives.

    Every fourth of ``blocks`` contiguous blocks is for validation, and training leaves out a
    tenth of a block on each side of it: in a random draw, neighbors that look alike would stand
    on both sides, which flatters the figures.
    """
    block = np.arange(len(names)) * blocks // max(1, len(names))
    val = block % 4 == 3
    if split == 'blocks_val':
        return [name for name, chosen in zip(names, val, strict=True) if chosen]
    guard = -(-len(names) // (10 * blocks))
    near = [val[max(0, i - guard) : i + guard + 1].any() for i in range(len(names))]
    return [name for name, left_out in zip(names, near, strict=True) if not left_out]


def expect(names: Sequence[str], there: object, place: Path) -> None:
    """
    Check that every name has its partner.

    :param there: a container of the names that ``place`` has.
    """
    missing = [name for name in names if name not in there]  # type: ignore[operator]
    if missing:
        raise FusionError(
            f'{place} lacks {missing[0]!r} and so {len(missing)} of {len(names)}: files belong '
            'together by their name without suffix; add the file, or take the name out'
        )


def _stem(name: str) -> str:
    # Not Path.stem alone: a name may hold dots, and lists may hold file names or paths.
    path = Path(name.replace('\\', '/'))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
