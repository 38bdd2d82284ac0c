"""What a sensor_msgs/CameraInfo says: the camera, and which part of its sensor is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import DISTORTIONS
from tdfusion_ros.core.calibration import resizing
from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import CalibrationError

MODELS = ('plumb_bob', 'rational_polynomial')
# Parts of names of models whose zero is another projection than a pinhole's.
FISHEYES = (
    *('equi', 'fish', 'kannala', 'omni', 'mei', 'spher', 'eucm', 'unified', 'theta', 'fov'),
    *('atan', 'scaramuzza', 'ocam', 'panoram', 'cylind', 'division'),
)
MAX_OFF_CENTER = 0.26  # distance of a principal point from the border, as a share of the side
MIN_FOV, MAX_FOV = 0.01, 20.0  # image side over focal length: 0.6 to 169 degrees
CALIBRATE_IT = (
    'calibrate it (ros2 run camera_calibration cameracalibrator …), or calibrate from pairs or '
    'from picked points'
)


@dataclass(frozen=True)
class Region:
    """The part of the full image that is sent (left and top, size [px]), and its binning."""

    offset_xy: tuple[int, int]
    size_hw: Size
    binning_yx: tuple[int, int]

    @property
    def sent_size_hw(self) -> Size:
        """Return the size of the images as they are sent."""
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


def camera_from_message(info: Any, stream: str, *image_hw: Size) -> Camera:
    """Return the camera of a CameraInfo; sizes and errors as of :func:`checked_camera`."""
    k, d = np.array(info.k, np.float64).reshape(3, 3), np.array(info.d, np.float64)
    full, model = Camera((int(info.height), int(info.width)), k, d), str(info.distortion_model)
    return checked_camera(full, f'{stream} camera_info', model, region_of(info), image_hw)


def checked_camera(
    full: Camera, what: str, model: str, region: Region, sizes: Sequence[Size]
) -> Camera:
    """
    Return the camera of the images that are sent.

    :param full: of the whole sensor; a D of zeros is left out.
    :param what: names it in messages.
    :param sizes: of the images: as sent and, if they are cropped, of what is left, which is
        described if the size is exactly this one; empty: not known.
    :raises CalibrationError: if the camera is not calibrated, or for other images.
    """
    image_hw = next((hw for hw in sizes if hw == region.sent_size_hw), [*sizes, None][0])
    fault = (
        _number_fault(full, model)
        or _principal_point_fault(full, region)
        or _size_fault(full.size_hw, region, image_hw)
    )
    if fault:
        raise CalibrationError(f'{what} {fault}')
    shift = np.zeros((3, 3))
    shift[:2, 2] = region.offset_xy
    size_hw = image_hw or region.sent_size_hw
    k = resizing(region.size_hw, size_hw) @ (full.k - shift)
    return Camera(size_hw, k, full.d if np.any(full.d) else np.zeros(0))


def _number_fault(camera: Camera, model: str) -> str:
    """Return what is wrong with size, K and D by themselves; empty: nothing."""
    k, d, (height, width) = camera.k, camera.d, camera.size_hw
    if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
        return f'is not calibrated: its K has the focal length {k[0, 0]:g}; {CALIBRATE_IT}'
    if not all(1 <= side <= MAX_SIDE_PX for side in (height, width)):
        return f'has the size {width}x{height}, expected the size of its images'
    if not k[2, 2]:
        return f'has a K whose last number is {k[2, 2]:g}, expected 1; {CALIBRATE_IT}'
    if not np.isfinite(d).all():
        return f'has a D that is not all numbers; {CALIBRATE_IT}'
    if not MIN_FOV < width / k[0, 0] < MAX_FOV or not MIN_FOV < height / k[1, 1] < MAX_FOV:
        return (
            f'has a K that does not fit its size {width}x{height}: the focal length is '
            f'{k[0, 0]:g} px; {CALIBRATE_IT}'
        )
    if any(word in model.lower() for word in FISHEYES):
        return (
            f"has the distortion model '{model}', which is no pinhole even if all its numbers are "
            'zero; undistort the images, or calibrate from pairs'
        )
    if np.any(d) and (model not in MODELS or len(d) not in DISTORTIONS):
        return (
            f"has the distortion model '{model}' with {len(d)} numbers, expected "
            f'{" (5 numbers) or ".join(MODELS)} (8, 12 or 14); undistort the images '
            '(image_proc) or calibrate from pairs'
        )
    return ''


def _principal_point_fault(camera: Camera, region: Region) -> str:
    """Return why K belongs to another size: its principal point is far from the center."""
    height, width = camera.size_hw
    x, y = camera.k[0, 2] / width, camera.k[1, 2] / height
    if all(MAX_OFF_CENTER < part < 1 - MAX_OFF_CENTER for part in (x, y)):
        return ''
    (rows, columns), reason = region.binning_yx, 'it belongs to another size or mode'
    if (rows, columns) != (1, 1) and abs(x * columns - 0.5) < 0.1 and abs(y * rows - 0.5) < 0.1:
        reason = f'it seems to belong to the binned image, {width // columns}x{height // rows}'
    return (
        f'has a K that does not fit its size {width}x{height}: the principal point is at '
        f'{x:.0%} of the width and {y:.0%} of the height; {reason}. Correct it in the driver, or '
        'give a corrected file (--rgb-info, --ir-info)'
    )


def _size_fault(full_hw: Size, region: Region, image_hw: Size | None) -> str:
    """Return why a roi lies outside of the sensor, or is not what the images show."""
    (left, top), (height, width), sent_hw = region.offset_xy, region.size_hw, region.sent_size_hw
    roi = f'has a roi of {width}x{height} at ({left}, {top})'
    if top + height > full_hw[0] or left + width > full_hw[1]:
        return (
            f'{roi}, which does not lie in its size {full_hw[1]}x{full_hw[0]}: size and K must '
            'describe the full image'
        )
    if 0 in sent_hw:
        rows, columns = region.binning_yx
        return f'has a binning of {columns}x{rows}, which leaves no pixel of its size'
    if image_hw is None:
        return ''
    if region.size_hw != full_hw:
        fits = max(abs(a - b) for a, b in zip(sent_hw, image_hw, strict=True)) <= 1
    else:  # may be another resolution of the same view
        fits = abs(np.log(sent_hw[1] / sent_hw[0] * image_hw[0] / image_hw[1])) <= 0.01
        roi = 'has no roi'
    if fits:
        return ''
    return (
        f'{roi} and is for {sent_hw[1]}x{sent_hw[0]}, but the images are '
        f'{image_hw[1]}x{image_hw[0]}: it is from another mode of the camera, or the images are '
        'cropped; calibrate the camera in the mode that is used'
    )


def check_raw(image_topic: str, stream: str) -> None:
    """Raise CalibrationError for rectified images, to which K and D do not apply."""
    if 'rect' in image_topic.rpartition('/')[2] or '_rect/' in image_topic:
        raise CalibrationError(
            f'{image_topic} looks rectified: K and D do not apply; choose the raw {stream} images'
        )
