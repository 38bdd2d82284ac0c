"""Which part of the sensor the images beside a sensor_msgs/CameraInfo show."""

from dataclasses import dataclass
from typing import Any

from tdfusion_ros.core.data import Size


@dataclass(frozen=True)
class Region:
    """
    The part of the full image that is sent, and how many of its pixels become one.

    :param offset_xy: left and top, in pixels of the full image.
    :param size_hw: in pixels of the full image.
    :param binning_yx: number of rows and columns that become one.
    """

    offset_xy: tuple[int, int]
    size_hw: Size
    binning_yx: tuple[int, int]

    @property
    def sent_size_hw(self) -> Size:
        """The size of the images as they are sent."""
        (height, width), (rows, columns) = self.size_hw, self.binning_yx
        return height // rows, width // columns


def region_of(info: Any) -> Region:
    """
    Return the region of a sensor_msgs/CameraInfo; a roi of zeros is the full image.

    Source: the comments of CameraInfo.msg, and REP 104. ``K`` and the size belong to the full
    image.
    """
    roi, binning_yx = info.roi, (max(1, int(info.binning_y)), max(1, int(info.binning_x)))
    if not roi.width or not roi.height:
        return Region((0, 0), (int(info.height), int(info.width)), binning_yx)
    offset_xy = int(roi.x_offset), int(roi.y_offset)
    return Region(offset_xy, (int(roi.height), int(roi.width)), binning_yx)


def describes(info: Any, size_hw: Size) -> bool:
    """
    Return whether a CameraInfo belongs to images of a size.

    Some drivers write the size of the images where that of the full image is due.
    """
    return size_hw in ((info.height, info.width), region_of(info).sent_size_hw)
