"""Which part of the sensor the images beside a sensor_msgs/CameraInfo show."""

from dataclasses import dataclass
from typing import Any

from tdfusion_ros.core.data import Size


@dataclass(frozen=True)
class Region:
    """The part of the full image that is sent (left and top, size [px]), and its binning."""

    offset_xy: tuple[int, int]
    size_hw: Size
    binning_yx: tuple[int, int]

    @property
    def sent_size_hw(self) -> Size:
        """The size of the images as they are sent."""
        (height, width), (rows, columns) = self.size_hw, self.binning_yx
        return height // rows, width // columns


def region_of(info: Any) -> Region:
    """Return the region of a CameraInfo, whose K and size are of the full image (REP 104)."""
    roi, binning_yx = info.roi, (max(1, int(info.binning_y)), max(1, int(info.binning_x)))
    if not roi.width or not roi.height:
        return Region((0, 0), (int(info.height), int(info.width)), binning_yx)
    offset_xy = int(roi.x_offset), int(roi.y_offset)
    return Region(offset_xy, (int(roi.height), int(roi.width)), binning_yx)


def describes(info: Any, size_hw: Size) -> bool:
    """Return whether a CameraInfo is for images of a size; some drivers give the full image's."""
    return size_hw in ((info.height, info.width), region_of(info).sent_size_hw)
