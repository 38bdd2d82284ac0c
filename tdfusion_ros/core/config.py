"""
The settings: the only place of their names, defaults, ranges and descriptions.

ROS parameters, ``docs/parameters.md`` and ``config/fusion.yaml`` are generated from these classes.
A group is a nested class; its settings are named with dots, as ``sync.max_skew_ms``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from difflib import get_close_matches
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.setting import cast
from tdfusion_ros.core.setting import check
from tdfusion_ros.core.setting import flat
from tdfusion_ros.core.setting import flatten
from tdfusion_ros.core.setting import numbers
from tdfusion_ros.core.setting import setting

TF = 'tf'  # the calibration that follows camera_info and TF
BACKENDS = ('auto', 'cpu', 'cuda', 'trt')
TRANSPORTS = ('raw', 'compressed', 'compressedDepth')
MAX_OFFSET_MS = 1e13  # 300 years: the clock of a camera may count from when it was switched on
# What ROS declares for every node; a parameter file may set them.
ROS_PARAMETERS = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
QOS = ('AUTO', 'SENSOR_DATA', 'DEFAULT', 'SYSTEM_DEFAULT', 'RELIABLE')


@dataclass(frozen=True)
class SyncConfig:
    """How rgb and ir frames are paired."""

    policy: str = setting(
        'nearest',
        'Pairing policy: nearest in time, or approximate as message_filters pairs.',
        choices=('nearest', 'approximate'),
    )
    mode: str = setting(
        'paired',
        'paired: use each frame once; rgb_hold: fuse every rgb frame, with the nearest ir.',
        choices=('paired', 'rgb_hold'),
    )
    hold_max_age_ms: float = setting(
        150.0, 'Largest stamp difference in mode rgb_hold [ms].', 0.0, 10_000.0
    )
    stall_ms: float = setting(
        200.0,
        'A camera that shows nothing new for this long has stalled; 0: never [ms].',
        0.0,
        60_000.0,
    )
    max_skew_ms: float = setting(20.0, 'Largest stamp difference of a pair [ms].', 0.0, 10_000.0)
    max_age_ms: float = setting(
        500.0,
        'Drop a frame that is this much older than the newest one of its stream [ms].',
        1.0,
        60_000.0,
    )
    queue_size: int = setting(30, 'Frames of a stream that may wait for a partner.', 1, 1000)
    rgb_time_offset_ms: float = setting(
        0.0, 'Added to every rgb stamp before pairing [ms].', -MAX_OFFSET_MS, MAX_OFFSET_MS
    )
    ir_time_offset_ms: float = setting(
        0.0, 'Added to every ir stamp before pairing [ms].', -MAX_OFFSET_MS, MAX_OFFSET_MS
    )

    @property
    def limit_name(self) -> str:
        """Return the parameter that limits the stamp difference within a pair in this mode."""
        return f'sync.{"hold_max_age_ms" if self.mode == "rgb_hold" else "max_skew_ms"}'

    @property
    def limit_ms(self) -> float:
        """Return the value of that parameter [ms]."""
        return self.hold_max_age_ms if self.mode == 'rgb_hold' else self.max_skew_ms

    @property
    def offsets_ns(self) -> dict[str, int]:
        """Return the time offset of each stream [ns]."""
        offsets_ms = {'rgb': self.rgb_time_offset_ms, 'ir': self.ir_time_offset_ms}
        return {stream: round(ms * 1e6) for stream, ms in offsets_ms.items()}


@dataclass(frozen=True)
class RgbConfig:
    """The rgb camera."""

    image_transport: str = setting(
        'raw', 'Subscribe to rgb/image_raw, or to rgb/image_raw/TRANSPORT.', choices=TRANSPORTS
    )
    on_stall: str = setting(
        'ir_only',
        'While rgb stalls: show and search the ir image alone, or publish nothing.',
        choices=('ir_only', 'drop'),
    )


@dataclass(frozen=True)
class IrConfig:
    """The thermal camera and how its counts become [0, 1]."""

    image_transport: str = setting(
        'raw', 'Subscribe to ir/image_raw, or to ir/image_raw/TRANSPORT.', choices=TRANSPORTS
    )
    on_stall: str = setting(
        'hold',
        'While ir stalls: use its last image up to sync.max_age_ms, rgb alone, or nothing.',
        choices=('hold', 'rgb_only', 'drop'),
    )
    color: str = setting(
        'refuse',
        'Ir images in false colors: refuse them, or use their luma instead of temperature.',
        choices=('refuse', 'luma'),
        live=True,
    )
    normalization: str = setting(
        'auto',
        'How counts are scaled; auto: passthrough for 8 bits, else percentile.',
        choices=('auto', 'passthrough', 'percentile', 'fixed'),
        live=True,
    )
    percentile_low: float = setting(
        1.0, 'percentile: this percentile of the pixels becomes 0 [%].', 0.0, 100.0, live=True
    )
    percentile_high: float = setting(
        99.0, 'percentile: this percentile of the pixels becomes 1 [%].', 0.0, 100.0, live=True
    )
    smoothing: float = setting(
        0.9,
        'percentile: weight of the range of past frames; 0: scale each frame alone.',
        0.0,
        0.999,
        live=True,
    )
    range_min: float = setting(
        0.0, 'fixed: the count or temperature that becomes 0.', -65_535.0, 65_535.0, live=True
    )
    range_max: float = setting(
        65_535.0, 'fixed: the count or temperature that becomes 1.', -65_535.0, 65_535.0, live=True
    )
    no_data: str = setting(
        'auto',
        'Values that are no measurement: auto recognizes them; none; or a list, as 0, 16383.',
        live=True,
    )
    crop: str = setting(
        'auto',
        'Rows and columns to cut off: auto: known telemetry; none; or top, bottom, left, right.',
        live=True,
    )
    invert: bool = setting(False, 'Set if the camera shows hot as dark (black-hot).', live=True)
    kelvin_per_count: float = setting(
        0.0,
        'Temperature step of one count of 16 bits, or of one unit of 32FC1; 0: not known [K].',
        0.0,
        100.0,
        live=True,
    )
    kelvin_offset: float = setting(
        0.0,
        'Temperature of the count 0, as 273.15 for counts of Celsius [K].',
        -1000.0,
        1000.0,
        live=True,
    )


def crop_sides(text: str) -> tuple[int, ...] | None:
    """Return ``ir.crop``: top, bottom, left, right [px]; None for ``auto``, else ConfigError."""
    sides = numbers('ir.crop', text, 4)
    if sides is not None and any(side < 0 or side % 1 for side in sides):
        raise ConfigError(f'ir.crop must be whole numbers of pixels, got {text!r}')
    return None if sides is None else tuple(int(side) for side in sides or (0, 0, 0, 0))


@dataclass(frozen=True)
class FusionConfig:
    """All settings of the user; what the model requires is in its contract."""

    model: str = setting(
        'msrs_rt',
        'Model bundle: the name of a shipped one, or a folder, written with a slash, as ./mine.',
    )
    backend: str = setting(
        'auto',
        'Backend that runs the model; auto uses the fastest available one and logs it.',
        choices=BACKENDS,
    )
    cpu_threads: int = setting(
        0,
        'Threads of the backend cpu; 0: one per core, so other nodes share all cores. A pair that '
        'begins before the last one has ended gets half as many; with 1 thread, none does.',
        0,
        1024,
    )
    calibration: str = setting(
        '',
        'Calibration file; tf: follow camera_info and TF; empty: both cameras have one field of '
        'view.',
    )
    calibration_depth_m: float = setting(
        20.0, 'calibration tf: distance at which the images line up [m].', 0.1, 10_000.0, live=True
    )
    score_threshold: float = setting(
        0.5,
        'Report detections of at least this score, and weaker ones of tracked objects (tracker).',
        0.0,
        1.0,
        live=True,
    )
    nms_threshold: float = setting(
        0.5,
        'Keep the better of two boxes of a class that overlap more than this (IoU).',
        0.0,
        1.0,
        live=True,
    )
    nms_threshold_across: float = setting(
        0.8,
        'As nms_threshold, for two boxes of different classes (IoU); 1: keep both.',
        0.0,
        1.0,
        live=True,
    )
    max_detections: int = setting(
        100, 'Largest number of detections per image; the best are kept.', 1, 10_000, live=True
    )
    tracker: str = setting(
        'iou',
        'iou: an object keeps its id, also unseen for 2 s, and does not blink; none: no ids.',
        choices=('none', 'iou'),
        live=True,
    )
    class_filter: tuple[str, ...] = setting((), 'Classes to report; empty: all.', live=True)
    max_rate_hz: float = setting(
        0.0, 'Largest number of pairs fused per second; 0: no limit [Hz].', 0.0, 1000.0, live=True
    )
    input_qos: str = setting(
        'AUTO', 'QoS of the image subscriptions; AUTO follows the publishers.', choices=QOS
    )
    output_qos: str = setting('DEFAULT', 'QoS of image and detection publishers.', choices=QOS[1:])
    input_timeout_s: float = setting(
        2.0, 'Report a stream that sends nothing for this long [s].', 0.1, 3600.0
    )
    diagnostics_period_s: float = setting(1.0, 'Time between two diagnostics [s].', 0.1, 60.0)
    save_folder: str = setting(
        '~/.local/share/tdfusion_ros/pairs',
        'Folder of the pairs that the service save_pair writes.',
    )
    autostart: bool = setting(
        True, 'Configure and activate at startup; false: leave it to a lifecycle manager.'
    )
    sync: SyncConfig = field(default_factory=SyncConfig)
    rgb: RgbConfig = field(default_factory=RgbConfig)
    ir: IrConfig = field(default_factory=IrConfig)

    def __post_init__(self) -> None:
        for name, value, metadata in flat(self):
            check(name, value, metadata)
        numbers('ir.no_data', self.ir.no_data)
        crop_sides(self.ir.crop)
        for low, high in (('percentile_low', 'percentile_high'), ('range_min', 'range_max')):
            first, last = getattr(self.ir, low), getattr(self.ir, high)
            if first >= last:
                raise ConfigError(f'ir.{low} must be below ir.{high}, got {first} and {last}')
        if self.ir.kelvin_offset and not self.ir.kelvin_per_count:
            raise ConfigError('ir.kelvin_offset needs ir.kelvin_per_count; 1.0 if ir has degrees')
        if self.sync.mode == 'rgb_hold' and self.sync.policy != 'nearest':
            raise ConfigError(
                f"sync.mode 'rgb_hold' needs sync.policy 'nearest', got '{self.sync.policy}'"
            )


GROUPS = {'sync': SyncConfig, 'rgb': RgbConfig, 'ir': IrConfig}


def from_mapping(values: Mapping[str, Any]) -> FusionConfig:
    """Return a config with these settings, dotted or nested; ConfigError for a wrong one."""
    known = {name: value for name, value, _ in flat(FusionConfig())}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in flatten(values).items():
        if name in GROUPS:
            raise ConfigError(f'{name} must be a mapping of settings to values, got {value!r}')
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? See tdfusion params" if near else ''
            names = ', '.join(known)
            raise ConfigError(f"unknown setting '{name}': {hint or f'known are {names}'}")
        group, _, leaf = name.rpartition('.')
        groups.setdefault(group, {})[leaf] = cast(name, value, known[name])
    top = groups.pop('', {})
    nested = {name: GROUPS[name](**leaves) for name, leaves in groups.items()}
    return FusionConfig(**top, **nested)


def settings() -> list[tuple[str, Any, Mapping[str, Any]]]:
    """Return (dotted name, default, metadata) of every setting, in the order to show them."""
    return list(flat(FusionConfig()))
