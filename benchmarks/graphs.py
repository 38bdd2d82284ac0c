"""ONNX graphs of the paper's fusion network and of a bundle's, which differ in nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
import warnings

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.perception import build_network
from tdfusion_ros.nets.perception import Perception
from training.bundle.graph import export_onnx


class NoDetector(nn.Module):
    """A detector that finds nothing and takes no time."""

    inputs = 2

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return no boxes and no logits, made from the image: the export drops constants."""
        nothing = image[:, 0, 0, :0]
        return nothing.reshape(1, 0, 1).expand(1, 0, 4), nothing.reshape(1, 0, 1)


def export_fusion(fusion: nn.Module, path: Path, detector: nn.Module | None = None) -> Path:
    """Write the graph of a fusion network, alone or with a detector, and return its path."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's notes to its developers
        export_onnx(Perception(fusion, detector or NoDetector()).eval(), path)
    return path


def export_graphs(architecture: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """
    Write four graphs with random weights.

    :param architecture: of the bundle, as in its contract.
    :returns: by name: paper and real-time, each alone and with the bundle's detector.
    """
    torch.manual_seed(0)
    paths: dict[str, Path] = {}
    for suffix in ('fusion', 'fusion + detector'):
        for network in ('paper', 'real-time'):
            fusion = FusionPaper() if network == 'paper' else build_network(architecture['fusion'])
            detector = build_network(architecture['detector']) if '+' in suffix else None
            path = folder / f'{len(paths)}.onnx'
            paths[f'{network}, {suffix}'] = export_fusion(fusion, path, detector)
    return paths
