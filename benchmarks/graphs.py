"""ONNX graphs of the paper's fusion network and of a bundle's, which differ in nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
import warnings

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.perception import build_network
from tdfusion_ros.nets.perception import Perception
from training.bundle.graph import export_onnx


class NoDetector(nn.Module):
    """A detector that finds nothing and takes no time."""

    config = DetectorConfig(inputs=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return no boxes and no logits, made from the image: the export drops constants."""
        nothing = image[:, 0, 0, :0]
        return nothing.reshape(1, 0, 1).expand(1, 0, 4), nothing.reshape(1, 0, 1)


def export_graphs(architecture: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write four graphs, random weights: paper and real-time, alone and with the detector."""
    torch.manual_seed(0)
    paths: dict[str, Path] = {}
    for suffix in ('fusion', 'fusion + detector'):
        for network in ('paper', 'real-time'):
            fusion = FusionPaper() if network == 'paper' else build_network(architecture['fusion'])
            alone = suffix == 'fusion'
            detector = NoDetector() if alone else build_network(architecture['detector'])
            path = paths[f'{network}, {suffix}'] = folder / f'{len(paths)}.onnx'
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # torch's notes to its developers
                export_onnx(Perception(fusion, detector).eval(), path)
    return paths
