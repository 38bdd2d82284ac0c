"""Which pairs belong to a split of a data set: a folder, a list, or contiguous blocks."""

from collections.abc import Container
from collections.abc import Sequence
from itertools import chain
from itertools import compress
from pathlib import Path
from pathlib import PureWindowsPath

import numpy as np

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.image_files import composed
from tdfusion_ros.formats.image_files import SUFFIXES
from tdfusion_ros.formats.image_files import without_camera
from training.data.layouts import files_of
from training.data.layouts import folders_of
from training.data.layouts import has_images
from training.data.layouts import Layout
from training.data.layouts import listed
from training.data.pair_files import Files
from training.data.pair_files import read_text


def pair_files(root: Path, layout: Layout, split: str) -> dict[str, Files]:
    """Return the rgb and the ir file of each name of a split, in order."""
    places = [place.replace('{split}', split) for place in (layout.rgb, layout.ir)]
    folders = [root / place for place in places]
    if '{split}' in layout.rgb and not folders[0].is_dir():
        raise FusionError(
            f'{folders[0]} is missing: choose one of the splits '
            f'{", ".join(split_folders(root, layout))} (--split; in a training split=, or '
            'validate_split= for validation)'
        )
    rgb, ir = (files_of(root, place) if place else {} for place in places)
    names = split_names(root, layout, split, sorted({*rgb, *ir}))
    for place, folder, files in zip(places, folders, (rgb, ir), strict=True):
        if place:
            check_complete(names, files, folder)
    return {name: (rgb.get(name), ir.get(name)) for name in names}


def name_there(root: Path, layout: Layout, split: str) -> str:
    """Return the name of a split in a data set: the exports of Roboflow call val valid."""
    val, valid = ((root / layout.rgb.replace('{split}', s)).is_dir() for s in ('val', 'valid'))
    return 'valid' if split == 'val' and valid and not val else split


def split_folders(root: Path, layout: Layout) -> list[str]:
    """Return the splits of a data set that has a folder for each."""
    depth = layout.rgb.split('/').index('{split}')
    found = filter(has_images, folders_of(root, layout.rgb.replace('{split}', '*')))
    return [folder.relative_to(root).parts[depth] for folder in found]


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
            others = (file.stem for file in lists_of(root, layout))
            raise FusionError(
                f'{paths[0]} is missing: write the names of the split into it, one per line, or '
                f'use one of the splits {", ".join((*others, "all", "blocks_train, blocks_val"))}'
            )
        else:
            chosen = _listed_names(path, names)
    if not chosen:
        raise FusionError(f'split {split} of {root} is empty: add pairs or use another split')
    return chosen


def is_cut(root: Path, layout: Layout, split: str) -> bool:
    """Return whether train and val of a data set without any split are contiguous blocks."""
    by_folder = '{split}' in layout.rgb
    return split in ('train', 'val') and not by_folder and not lists_of(root, layout)


def lists_of(root: Path, layout: Layout) -> list[Path]:
    """Return the files that list the names of a split; beside the data train, val or test."""
    stems = {place: ('*',) if '/' in place else ('train', 'val', 'test') for place in layout.lists}
    files = (root.glob(p.replace('{split}', stem)) for p in stems for stem in stems[p])
    return sorted(chain.from_iterable(files))


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

    Every fourth of ``blocks`` contiguous blocks (at most one for each name) is for validation, and
    training leaves out a tenth of a block on each side of it: a random split would put similar
    neighboring frames into both parts, which makes figures look better than they are.
    """
    blocks = max(1, min(blocks, len(names)))
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
