"""Settings of the data of a training run: which pairs, and how crops of them are made."""

from dataclasses import dataclass
from dataclasses import Field
from typing import Any
from typing import get_args
from typing import get_origin

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.setting import setting


@dataclass(frozen=True)
class DataConfig:
    """Settings of the data and their augmentation."""

    data: str = setting('', 'Folder of the data set (required).')
    split: str = setting('train', 'Name of the split to train on.')
    limit: int = setting(0, 'Use only the first N pairs of each split; 0: all of them.', low=0)
    crop_hw: tuple[int, int] = setting((256, 256), 'Height and width of a crop [px].')
    scale_range: tuple[float, float] = setting((0.7, 1.3), 'Random magnification of a crop.')
    mosaic: float = setting(0.0, 'Share of crops that are put together from four images.')
    photometric: float = setting(1.0, 'Strength of the random brightness, contrast, gamma.')
    stretch: float = setting(
        0.0,
        'Share of crops in which ir is stretched to all gray levels, as the robot does for a '
        '16-bit camera.',
    )
    invert: float = setting(0.5, 'Share of the stretched crops in which warm is dark.')
    misregistration_px: float = setting(
        0.0, 'Largest shift of ir against rgb, in pixels of the crop.', low=0
    )
    modality_dropout: float = setting(
        0.0, 'Share of crops in which one camera is black, as when its stream stalls.'
    )
    partial_coverage: float = setting(
        0.0, 'Share of crops in which the thermal camera sees only a part of the rgb image.'
    )


def check_value(f: Field[Any], value: Any) -> None:
    """Raise ConfigError if a value does not have the type, or is not in the range, of a field."""
    types = get_args(f.type) or (f.type,)
    items = [value]
    if get_origin(f.type) is tuple:
        items = list(value) if isinstance(value, (list, tuple)) else []
    accepted = {float: (int, float)}
    if len(items) != len(types) or not all(
        isinstance(item, accepted.get(kind, kind)) and isinstance(item, bool) == (kind is bool)
        for item, kind in zip(items, types, strict=True)
    ):
        wanted = ', '.join(kind.__name__ for kind in types)
        wanted = f'[{wanted}]' if len(types) > 1 else wanted
        raise ConfigError(f'{f.name} must be {wanted}, got {value!r}')
    choices, low, high = (f.metadata.get(key) for key in ('choices', 'low', 'high'))
    if choices and value not in choices:
        raise ConfigError(f'{f.name} must be one of {", ".join(map(str, choices))}, got {value!r}')
    if low is not None and value < low:
        raise ConfigError(f'{f.name} must be {low} or more, got {value}')
    if high is not None and value > high:
        raise ConfigError(f'{f.name} must be {high} or less, got {value}')
