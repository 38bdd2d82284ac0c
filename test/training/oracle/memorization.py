"""
What a detector gains if the fused image follows infrared more, on seen and unseen images.

    python test/training/oracle/memorization.py FUSION_RUN DETECTOR_RUN DATA

Prints by how much the detector's loss changes when the fused pixels of one kind of object, or of
the background, move toward infrared (or away from it) by 0.3 of the difference to luma: mean and
standard error over 48 images of train, which the detector was trained on, and of val.
"""

from pathlib import Path
import sys

SHARE = 0.3
IMAGES = 48


def masks_of(batch):
    """Return by name where objects of each class are, and the background."""
    import torch

    background = torch.ones_like(batch.ir)
    masks = {}
    boxes, ids = batch.boxes_xyxy[0][batch.valid[0]], batch.class_ids[0][batch.valid[0]]
    for (x0, y0, x1, y1), class_id in zip(boxes.int().tolist(), ids.tolist(), strict=True):
        mask = masks.setdefault(class_id, torch.zeros_like(batch.ir))
        mask[..., y0:y1, x0:x1] = 1
        background[..., y0:y1, x0:x1] = 0
    return {**masks, 'background': background, 'everything': torch.ones_like(batch.ir)}


def main(fusion_run, detector_run, data):
    import numpy as np
    import torch

    sys.path.insert(0, str(Path(__file__).parents[3]))
    from training.checkpoint import load_run
    from training.data.augmentation import collate
    from training.data.datasets import open_dataset
    from training.method.losses import pair_of
    from training.method.task_networks import loss_on_fused

    fusion, detector = load_run(fusion_run), load_run(detector_run)
    for split in ('train', 'val'):
        samples = open_dataset(data, split)
        chosen = np.random.default_rng(0).permutation(len(samples))[:IMAGES]
        changes = {}
        for batch in (collate([samples[int(i)]]) for i in chosen):
            y, ir = pair_of(batch)
            with torch.inference_mode():
                fused = fusion(y, ir)
                plain = loss_on_fused(detector, fused, batch)
                for what, mask in masks_of(batch).items():
                    for sign in (1, -1):
                        moved = (fused + sign * SHARE * mask * (ir - y)).clamp(0, 1)
                        change = loss_on_fused(detector, moved, batch) - plain
                        changes.setdefault((what, sign), []).append(change.item())
        print(f'{split}, {len(chosen)} images: change of the loss')
        print('| | images | toward ir | away from ir |\n|---|---|---|---|')
        for what in dict.fromkeys(what for what, _ in changes):
            name = samples.classes[what] if isinstance(what, int) else what
            cells = [
                f'{np.mean(values):+.4f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.4f}'
                for values in (changes[what, 1], changes[what, -1])
            ]
            print(f'| {name} | {len(changes[what, 1])} | {" | ".join(cells)} |')


if __name__ == '__main__':
    main(*sys.argv[1:])
