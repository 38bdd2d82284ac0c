"""Data sets and run folders as people have them."""

import json
import os
from pathlib import Path
import unicodedata

from PIL import Image
from received import saved
from row import Row
from scene import encoded
from scene import folder
from scene import ir8
from scene import rgb8

from tdfusion_ros.core.errors import FusionError

LABEL = '0 0.5 0.5 0.2 0.2\n'
VOC = '<?xml version="1.0" encoding="{0}"?><annotation><folder>图像</folder></annotation>'


def data_set(names=('a', 'b'), label=LABEL, suffix='.txt', **files):
    """Write a data set of rgb, ir, labels and classes.txt; ``files`` replace or add some."""
    folder('data/rgb', {f'{name}.png': encoded('.png', rgb8(0)) for name in names})
    folder('data/ir', {f'{name}.png': encoded('.png', ir8(0)) for name in names})
    folder('data/labels', {f'{name}{suffix}': label.encode() for name in names})
    Path('data/classes.txt').write_text('person\n')
    for place, content in files.items():
        path = Path('data', place)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def looked_at(split='all'):
    """Look at the data set as a training does before its first step; return what it says."""
    from training.data.datasets import open_dataset

    try:
        data = open_dataset('data', split)
        remarks = data.check()
    except FusionError as error:
        return f'refused: {error}'
    boxes = sum(len(sample.boxes_xyxy) for sample in data)
    return f'{len(data)} pairs, {boxes} boxes {" ".join(remarks)}'


def of(split='all', **options):
    """Return a run of a row: make a data set and look at it."""

    def run():
        data_set(**options)
        return looked_at(split)

    return run


def coco(file_name):
    images = [{'id': i, 'file_name': file_name.format(name)} for i, name in enumerate('ab')]
    box = {'image_id': 0, 'category_id': 1, 'bbox': [1, 2, 30, 40]}
    categories = [{'id': 1, 'name': 'person'}]
    return json.dumps({'images': images, 'annotations': [box], 'categories': categories})


def mac_files():
    """Return what macOS adds on a foreign disk."""
    return {f'{f}/._{n}' for f in ('rgb', 'ir') for n in ('a.png', 'b.png')} | {'labels/._a.txt'}


def turned(number):
    exif = Image.Exif()
    exif[274] = number
    return saved(rgb8(0), 'PNG', exif=exif)


def voc_in(encoding):
    def run():
        from training.data.boxes import read_voc

        Path('x.xml').write_bytes(VOC.format(encoding).encode(encoding))
        return f'{len(read_voc(Path("x.xml"), (96, 128), {})[0])} boxes'

    return run


def fsdecoded():
    return os.fsdecode('像1'.encode('gbk'))


GOOD = '2 pairs, 2 boxes'
SPLIT = 'splits/train.txt'
ROWS = [
    Row(
        'class ids as 0.000000', 'supervision PR 2580', of(label='0.000000 0.5 0.5 0.2 0.2'), GOOD
    ),
    Row('labels with the suffix .TXT', 'Windows', of(suffix='.TXT'), GOOD),
    Row('._ files of macOS', 'zip files', of(**dict.fromkeys(mac_files(), b'\0\5\x16\7')), GOOD),
    Row(
        'names with spaces in a list',
        'downloads',
        of('train', names=('IMG 1', 'IMG 2'), **{SPLIT: 'IMG 1\nIMG 2\n'}),
        GOOD,
    ),
    Row(
        'list with file names and Windows paths',
        'yolo',
        of('train', **{SPLIT: 'x\\a.png\nb\n'}),
        GOOD,
    ),
    Row('list in UTF-16', 'PowerShell', of('train', **{SPLIT: 'a\nb\n'.encode('utf-16')}), GOOD),
    Row(
        'accents apart in files, composed in a list',
        'macOS',
        of('train', names=(unicodedata.normalize('NFD', 'é'), 'b'), **{SPLIT: 'é\nb\n'}),
        GOOD,
    ),
    Row('names that are not UTF-8', 'zip files of Windows', of(names=(fsdecoded(), 'b')), GOOD),
    Row(
        'COCO with Windows paths',
        'CVAT',
        of(**{'annotations.json': coco('data\\{}.png')}),
        '2 pairs, 1 boxes',
    ),
    Row('VOC in GB2312', 'Lab41/pelops #72', voc_in('gb2312'), '0 boxes'),
    Row('VOC in GBK', 'labelImg', voc_in('gbk'), '0 boxes'),
    Row(
        'polygon labels',
        'YOLO segmentation',
        of(label='0 .1 .1 .2 .1 .2 .3'),
        'a.txt: line 1 has 7 values.*polygon',
    ),
    Row(
        'labels with a confidence',
        'predictions',
        of(label=LABEL.strip() + ' 0.9'),
        '6 values.*confidence',
    ),
    Row(
        'labels in pixels',
        'converters',
        of(label='0 64 48 20 30'),
        'a.txt has coordinates in pixels.*0 to 1',
    ),
    Row(
        'labels with names of classes',
        'converters',
        of(label='person .5 .5 .2 .2'),
        'a.txt: each line must be .* in numbers',
    ),
    Row(
        'two bad labels of many',
        'LLVIP, M3FD',
        of(
            names=tuple('abcd'),
            **{'labels/b.txt': '0 .5 .5 0 .1', 'labels/d.txt': '7 .5 .5 .1 .1'},
        ),
        '2 files cannot be used: .*b.txt: box 1.*d.txt contains class 7',
    ),
    Row(
        'image that is cut off',
        'broken downloads',
        of(**{'rgb/b.png': encoded('.png', rgb8(0))[:-40]}),
        'rgb/b.png is not an image that can be read',
    ),
    Row(
        'rgb says turn, ir does not',
        'phones, DJI',
        of(**{'rgb/b.png': turned(3)}),
        '1 of 2 pairs: .*EXIF orientation 3',
    ),
    Row(
        'list with names that have no files',
        'hand-made lists',
        of('train', **{SPLIT: 'a\nz\ny\n'}),
        r"lacks 'z', 'y' \(2 of 3",
    ),
]
