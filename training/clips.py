"""
Measure on unlabeled video: how steady the fused image is, and how many boxes appear.

    python -m training.clips --bundle models/msrs_rt --fusion runs/direct CLIP...

CLIP is a bag, or a folder with rgb (or vi) and ir: images of one clip, or video files of the same
names; or a folder of such folders. The first table has the mean change of luma from one frame to
the next in gray levels, percentiles of it over all pixels, and the ratio to the larger change of
both sources: above 1 the fused image flickers. The second table has the boxes of each bundle: in
a clip without cars, each car is a mistake. Twins are two boxes that overlap by more than 0.3, of
one class or person and car: mostly two boxes of one object.
"""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.core.config import FusionConfig
from training import shell
from training.data.clips import open_clips
from training.measure import tables
from training.measure import video


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    parser = shell.parser('training.clips', __doc__)
    add = parser.add_argument
    add('clips', nargs='+', metavar='CLIP', help='bags, or folders')
    add('--bundle', action='append', default=[], metavar='FOLDER', help='repeatable')
    add('--fusion', action='append', default=[], metavar='RUN', help='a fusion run; repeatable')
    add('--score', type=float, default=FusionConfig().score_threshold, help="default: the node's")
    add('-o', '--output', type=Path, help='JSON file to write')
    options = parser.parse_args(arguments)
    check_file(options.output)
    content = {}
    clips = [clip for path in options.clips for clip in open_clips(path)]
    for clip in clips:
        # Smoothing starts again with each clip.
        fusers = {run: video.run_pair_fuser(run) for run in options.fusion}
        classes = {}
        for model in options.bundle:
            fusers[model], classes[model] = video.bundle_pair_fuser(model, options.score)
        pairs = tqdm(clip, unit='pair', disable=None)
        steadiness, boxes = video.measure_clip(pairs, fusers, classes)
        print(f'{clip.name}\n{tables.format_table(steadiness)}')
        if boxes:
            print(f'boxes with a score of {options.score:g} or more\n{tables.format_table(boxes)}')
        found = {'steadiness': steadiness, 'boxes': boxes}
        content[clip.name] = {name: tables.rounded(table) for name, table in found.items()}
    write_json(options.output, content)


if __name__ == '__main__':
    shell.run('clips', main)
