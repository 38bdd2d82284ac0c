"""Real-time fusion of luma and infrared: plain convolutions at a fraction of the resolution."""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import bilinear_kernels
from tdfusion_ros.nets.blocks import COARSE_PX
from tdfusion_ros.nets.blocks import composite
from tdfusion_ros.nets.blocks import depth_in_view
from tdfusion_ros.nets.blocks import NOTHING
from tdfusion_ros.nets.blocks import PixelLinear
from tdfusion_ros.nets.blocks import surrounding


@dataclass(frozen=True)
class FusionRTConfig:
    """Settings of the fusion network, stored with its weights."""

    width: int = 16
    """Channels of the hidden layers; ONNX Runtime pads them to multiples of 16."""
    depth: int = 8
    """Number of convolutions, including the first one and the head."""
    scale: int = 2
    """Side of a cell, the pixel of the hidden layers, in pixels of the image: 2 or 4."""
    steady: bool = False
    """Whether the strength of details is that of their cell, and not that of each pixel."""


MOMENTS = 5  # number of columns of moments()
MAPS = 5  # weights of ir and luma, offset, gains of the details of luma and of ir
LARGEST_GAIN = 1.25
WIDE_CELL = 32  # side of a cell of the wide branch [px]


def moments(sources: Tensor, seen: Tensor | None = None) -> Tensor:
    """
    Return first and second moments of two sources, (B, 2, H, W), over the seen cells.

    :param seen: (B, 1, H, W) weight of each cell; None: all have the same.
    :returns: (B, 5): the mean of each source, of the square of each, and of their product; 0 if
        nothing is seen.
    """
    first, second = sources.split(1, 1)
    products = torch.cat((sources, sources.square(), first * second), 1)
    if seen is None:
        return products.mean((2, 3))
    return (products * seen).mean((2, 3)) / seen.mean((2, 3)).clamp(min=NOTHING)


class FusionRT(nn.Module):
    """
    Predict for each pixel how to mix the sources, instead of the fused intensity.

    ``f = clamp(base + details)``. The base ``a * ir + b * y + o`` is made of the surroundings of a
    pixel: the means of both sources over 3x3 cells, with weights in [0, 1] and an offset in
    [-1/2, 1/2]. The details are what differs from the surroundings, ``d_y`` and ``d_ir``:

        details = (g_y * d_y**3 + g_ir * d_ir**3) / (d_y**2 + d_ir**2 + noise**2)

    So the stronger detail counts, without the hard switch between sources that makes video
    flicker where both are noise; and details far below ``noise`` are left out. The gains ``g_y``
    and ``g_ir`` are limited, because a gain above 1 amplifies noise too.

    With ``steady`` the strengths are the means over a cell, ``v_y`` and ``v_ir``, so that video
    changes less where edges of one camera pass through edges of the other:

        details = (g_y * v_y * d_y + g_ir * v_ir * d_ir) / (v_y + v_ir + noise**2)

    All maps depend on the pixels up to about 25 to each side, and, through a branch on cells of 32
    pixels, on the wider surroundings: whether a person stands before something colder, whether a
    dark pixel is a dark object or night. The means of the last layer and the moments of both
    sources over the scene shift the maps. Memory traffic limits the speed of this network more
    than arithmetic, so it has few and simple operations at full resolution.
    """

    pixels: Tensor  # weights of a convolution that equals pixel_unshuffle
    bilinear: Tensor

    def __init__(self, config: FusionRTConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionRTConfig()
        width, scale = self.config.width, self.config.scale
        # Equals a 3x3 convolution of the pixel-unshuffled image, without moving pixels.
        first = nn.Conv2d(2, width, 3 * scale, stride=scale, padding=scale)
        others = (nn.Conv2d(width, width, 3, padding=1) for _ in range(self.config.depth - 2))
        self.body = nn.ModuleList((first, *others))
        self.head = nn.Conv2d(width, MAPS, 1)
        self.wide = nn.Sequential(
            nn.Conv2d(width + 2, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, MAPS, 1),
        )
        for parameter in self.wide[-1].parameters():  # training starts with the local maps
            nn.init.zeros_(parameter)
        self.noise = nn.Parameter(torch.tensor(0.01))
        # Half precision converts to float32 here: the sum over a scene would overflow.
        self.last: nn.Module = nn.Identity()
        self.scene = nn.Sequential(
            PixelLinear(width + MOMENTS, 2 * width), nn.ReLU(), PixelLinear(2 * width, MAPS)
        )
        pixels = torch.eye(scale**2).reshape(-1, 1, scale, scale)
        self.register_buffer('pixels', pixels, persistent=False)
        self.register_buffer('bilinear', bilinear_kernels(scale), persistent=False)

    def maps(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> list[Tensor]:
        """
        Return the base, the gains of the details of luma and ir, and the surroundings of both.

        :param luma: (B, 1, H, W) in [0, 1], H and W multiples of 32.
        :param ir: (B, 1, H, W) in [0, 1], on the grid of ``luma``.
        :param coverage: (B, 1, H, W) in [0, 1]: 1 where the thermal camera sees, 0 where not;
            None: it sees everywhere. Pixels with coverage 0 influence nothing.
        :returns: five (B, 1, H, W) maps; the gains are in [0, ``LARGEST_GAIN``].
        :raises ValueError: if H or W is no multiple of 32.
        """
        maps = self._cell_maps(luma, ir, coverage)
        return [functional.pixel_shuffle(self._pixels_of(x), self.config.scale) for x in maps]

    def _pixels_of(self, cell_map: Tensor, factor: float = 1.0) -> Tensor:
        """
        Return a map times ``factor``, interpolated, with the pixels of a cell as channels.

        Interpolated, not pixel-shuffled: Sobel does not see a checkerboard, so the loss would not
        prevent one. A convolution does it in a third of the time of ONNX Runtime's Resize.

        :param cell_map: (B, 1, h, w) and a border of one cell, one of :meth:`_cell_maps`.
        :returns: (B, scale ** 2, h, w), the order of pixel_unshuffle.
        """
        return functional.conv2d(cell_map, factor * self.bilinear)

    def _cell_maps(self, luma: Tensor, ir: Tensor, coverage: Tensor | None) -> tuple[Tensor, ...]:
        """Return the maps of :meth:`maps` by cell, with a border of one cell."""
        if luma.shape[-2] % WIDE_CELL or luma.shape[-1] % WIDE_CELL:
            height, width = luma.shape[-2:]
            raise ValueError(f'expected sides that are multiples of 32, got {height}x{width}: pad')
        sources = torch.cat((luma, ir), 1)
        middle: float | Tensor = 0.5
        seen_cells = None
        if coverage is not None:
            seen = coverage.ceil()  # the border is soft in the blend, and hard in what is read
            sources, middle = sources * seen, 0.5 * seen
            seen_cells = functional.avg_pool2d(seen, self.config.scale)
        x = centered = sources - middle  # 0 outside, as beyond the border of the image
        for convolution in self.body:
            x = functional.relu(convolution(x))
        cells = functional.avg_pool2d(sources, self.config.scale)
        around = surrounding(cells, 3)
        if seen_cells is not None:
            around = around / surrounding(seen_cells, 3).clamp(min=NOTHING)
            cells = cells / seen_cells.clamp(min=NOTHING)
        weights = self._logits(x, cells, seen_cells).sigmoid()
        weight_ir, weight_luma, offset, gains = weights.split((1, 1, 1, 2), 1)
        if self.config.steady:
            gains = gains * self._shares(centered, cells, around, seen_cells)
        luma_around, ir_around = around.split(1, 1)
        base = weight_ir * ir_around + weight_luma * luma_around + (offset - 0.5)
        if seen_cells is not None:
            base = base - self._excess((base - luma_around) * seen_cells, seen_cells)
        maps = torch.cat((base, LARGEST_GAIN * gains, around), 1)
        return functional.pad(maps, (1, 1, 1, 1), mode='replicate').split(1, 1)

    def _shares(
        self, centered: Tensor, cells: Tensor, around: Tensor, seen_cells: Tensor | None
    ) -> Tensor:
        """
        Return the share of each source in the strength of the details of a cell, (B, 2, h, w).

        :param centered: the sources minus 1/2, so that half precision keeps small differences.
        """
        squares = functional.avg_pool2d(centered.square(), self.config.scale)
        if seen_cells is not None:
            squares = squares / seen_cells.clamp(min=NOTHING)
        within = (squares - (cells - 0.5).square()).clamp(min=0.0)
        strength = within + (cells - around).square()
        if seen_cells is not None:
            strength = strength * seen_cells.ceil()
        return strength / (strength.sum(1, keepdim=True) + self._floor())

    def _floor(self) -> Tensor:
        """Return the strength of noise: flat surroundings have no details."""
        return (self.noise * self.noise).clamp(min=NOTHING)

    def _logits(self, x: Tensor, cells: Tensor, seen_cells: Tensor | None) -> Tensor:
        """Return the maps before the sigmoid: the sum of the local, the wide and the scene's."""
        features, side = self.last(x), WIDE_CELL // self.config.scale
        seen = torch.ones_like(cells[:, :1]) if seen_cells is None else seen_cells
        # Copied by a convolution: so ONNX Runtime keeps its layout of the channels.
        copies = seen.new_ones(features.shape[1], 1, 1, 1)
        near = functional.avg_pool2d(features * functional.conv2d(seen, copies), side)
        share = functional.avg_pool2d(seen, side)
        mean = near.mean((2, 3)) / share.mean((2, 3)).clamp(min=NOTHING)
        scene = self.scene(torch.cat((mean, moments(cells, seen_cells)), 1)[..., None, None])
        near = torch.cat((near, functional.avg_pool2d((cells - 0.5) * seen, side)), 1)
        near = near / share.clamp(min=NOTHING)
        wide = functional.interpolate(self.wide(near), scale_factor=float(side), mode='bilinear')
        # Split and joined because ONNX Runtime would continue with 16 channels for these 5.
        return torch.cat(self.head(x).split(1, 1), 1) + wide + scene

    def _excess(self, change: Tensor, seen: Tensor) -> Tensor:
        """
        Return what is too much in the base near the border of the view.

        Fusion changes the brightness of whole regions, and a change that ends within the soft
        border is a visible rectangle. So the mean change over ``COARSE_PX`` fades over six times
        that distance, while hot objects keep their contrast up to the border.

        :param change: of the base against luma, times ``seen``.
        """
        step = COARSE_PX // self.config.scale
        near = functional.avg_pool2d(seen, step)
        mean = surrounding(functional.avg_pool2d(change, step), 5)
        mean = mean / surrounding(near, 5).clamp(min=NOTHING)
        excess = mean * (1.0 - depth_in_view(near))
        return functional.interpolate(excess, scale_factor=float(step), mode='bilinear')

    def mix(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return as :meth:`forward`, not clamped: training needs the gradient everywhere."""
        return composite(luma, self._mixed(luma, ir, coverage), coverage)

    def _mixed(self, luma: Tensor, ir: Tensor, coverage: Tensor | None) -> Tensor:
        scale = self.config.scale
        *mixing, luma_around, ir_around = self._cell_maps(luma, ir, coverage)
        base, gain_luma, gain_ir = map(self._pixels_of, mixing)
        # Sums and products of equal shapes keep ONNX Runtime's layout of the channels.
        detail_luma, detail_ir = (
            functional.conv2d(source, self.pixels, stride=scale) + self._pixels_of(around, -1.0)
            for source, around in ((luma, luma_around), (ir, ir_around))
        )
        if self.config.steady:
            mixed = base + gain_luma * detail_luma + gain_ir * detail_ir
            return functional.pixel_shuffle(mixed, scale)
        power_luma, power_ir = detail_luma * detail_luma, detail_ir * detail_ir
        details = gain_luma * power_luma * detail_luma + gain_ir * power_ir * detail_ir
        mixed = base + details / (power_luma + power_ir + self._floor())
        return functional.pixel_shuffle(mixed, scale)

    def covered(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return the fused luma before it is composited: arbitrary where coverage is 0."""
        return self._mixed(luma, ir, coverage).clamp(0.0, 1.0)

    def forward(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """
        Return the fused luma, (B, 1, H, W) in [0, 1]; inputs as in :meth:`maps`.

        It is ``luma`` where coverage is 0, and a blend at the soft border. With a coverage, H and
        W must be multiples of ``COARSE_PX``.
        """
        return composite(luma, self.covered(luma, ir, coverage), coverage)
