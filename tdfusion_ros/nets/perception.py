"""The deployed graph: from the images of a pair to the fused image and detections."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.display import Display
from tdfusion_ros.nets.display import DisplayConfig
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_paper import FusionPaperConfig
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from tdfusion_ros.nets.segmenter import best_class
from tdfusion_ros.nets.segmenter import MaskHead
from tdfusion_ros.nets.segmenter import MaskHeadConfig
from tdfusion_ros.nets.yolox import Yolox
from tdfusion_ros.nets.yolox import YoloxConfig

WHITE = 255.0
"""Of the image that detectors read in the graph: gray levels."""
Networks = Mapping[str, tuple[Any, Any]]
NETWORKS: Networks = {
    'fusion_rt': (FusionRT, FusionRTConfig),
    'fusion': (FusionPaper, FusionPaperConfig),
    'detector': (Detector, DetectorConfig),
    'yolox': (Yolox, YoloxConfig),
    'mask_head': (MaskHead, MaskHeadConfig),
    'display': (Display, DisplayConfig),
}


class Perception(nn.Module):
    """Color, fusion, detection and, with a mask head, masks in one graph, for all backends."""

    def __init__(
        self, fusion: Any, detector: Any, mask_head: Any = None, display: Any = None
    ) -> None:
        super().__init__()
        self.fusion = fusion  # a module with covered()
        self.detector = detector
        self.mask_head = mask_head  # reads the features of the detector, a Yolox
        self.display = display  # None: people see what the detector reads
        # With other than three channels, detections do not depend on the fused image.
        self.detector_inputs: int = self.detector.config.inputs

    def forward(
        self, rgb: Tensor, ir: Tensor, coverage: Tensor, segmentation: bool = True
    ) -> tuple[Tensor, ...]:
        """
        Fuse and detect.

        :param rgb: (H, W, 3) uint8, channel order R, G, B; H and W multiples of 32.
        :param ir: (H, W) float32 in [0, 1]; ``coverage`` the same: where it is 0, ``fused`` is
            ``rgb``.
        :returns: ``fused`` (H, W, 3) uint8 RGB, ``boxes_xyxy`` (A, 4) float32 in pixels and
            ``scores`` (A, C) float32 in [0, 1], before non-maximum suppression; with a mask head
            also ``segmentation`` (H, W) uint8, unless False.
        """
        levels, y, ir = self._sources(rgb, ir)
        seen = coverage[None, None]
        fused = self.fusion.covered(y, ir, seen)
        image = self._recolored(levels, y, fused, seen)
        read = image if self.detector_inputs == 3 else self._both(levels, y, ir)
        if self.display is not None:
            image = self._recolored(levels, y, self.display(y, ir, fused, seen), seen)
        outputs: tuple[Tensor, ...]
        if self.mask_head is not None and segmentation:
            features = self.detector.features(read, WHITE)
            masks = best_class(self.mask_head(features))[0].to(torch.uint8)
            outputs = *self._detections(*self.detector.detect(features)), masks
        else:
            outputs = self._detections(*self.detector(read, WHITE))
        return (image + 0.5).squeeze(0).permute(1, 2, 0).to(torch.uint8), *outputs

    def detect(self, rgb: Tensor, ir: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
        """Return only ``boxes_xyxy`` and ``scores``; fuse only if the detector needs it."""
        if self.detector_inputs == 3:
            return self(rgb, ir, coverage, segmentation=False)[1:]
        return self._detections(*self.detector(self._both(*self._sources(rgb, ir)), WHITE))

    @staticmethod
    def _recolored(levels: Tensor, y: Tensor, fused: Tensor, seen: Tensor) -> Tensor:
        """Return as ``recolor``, but in gray levels: saves a division of three channels."""
        return (levels + WHITE * seen * (fused - y)).clamp(0.0, WHITE)

    def _both(self, levels: Tensor, y: Tensor, ir: Tensor) -> Tensor:
        """Return both sources in one image, rgb as luma if the detector reads two channels."""
        return torch.cat((WHITE * y if self.detector_inputs == 2 else levels, WHITE * ir), 1)

    @staticmethod
    def _sources(rgb: Tensor, ir: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rgb in gray levels, (1, 3, H, W), and luma and ir, (1, 1, H, W) in [0, 1]."""
        # uint8 only at the very border of the graph: TensorRT has no other operation on it.
        levels = rgb.to(ir.dtype).permute(2, 0, 1).unsqueeze(0)
        return levels, luma(levels) / WHITE, ir[None, None]

    @staticmethod
    def _detections(boxes_xyxy: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return boxes_xyxy[0], logits[0].float().sigmoid()


def build_network(settings: Mapping[str, Any], known: Networks = NETWORKS) -> nn.Module:
    """Build one network, untrained, of ``name`` and the fields of its config; or ValueError."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    name = str(values.pop('name'))
    if name not in known:
        raise ValueError(f'unknown network {name!r}; known: {", ".join(known)}')
    network, config = known[name]
    return network(config(**values))


def build_perception(architecture: Mapping[str, Mapping[str, Any]]) -> Perception:
    """Build the deployed graph, untrained, of ``{'fusion': {...}, 'detector': {...}, ...}``."""
    return Perception(**{part: build_network(of) for part, of in architecture.items()})
