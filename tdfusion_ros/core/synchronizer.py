"""
What is made of the frames that arrive: pairs while both cameras work, else what is left.

The one place that decides the mode of every result, for the live node and the offline run alike.
The mode is said with each result, so that nothing is made of a stalled camera without a warning.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from tdfusion_ros.core.camera_health import CameraMonitor
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.nearest_policy import NearestPolicy
from tdfusion_ros.core.nearest_policy import PolicyPair
from tdfusion_ros.core.rgb_hold_policy import RgbHoldPolicy

OTHER = {'rgb': 'ir', 'ir': 'rgb'}
SENTENCES = {
    'missing': 'no {stream} image for {s:.1f} s while the other camera goes on',
    'frozen': 'the {stream} picture stands still for {s:.1f} s (shutter, or the camera hangs)',
    'flat': 'the {stream} picture shows nothing for {s:.1f} s (shutter or lens cap)',
}
MARKS = {'missing': 'NO {stream} {s:.1f} s', 'frozen': '{stream} STALLED {s:.1f} s'}
MARKS['flat'] = '{stream} FLAT {s:.1f} s'


@dataclass(frozen=True, eq=False)
class FramePair:
    """
    The frames of one result.

    :param rgb: None where the result is made of ir alone.
    :param ir: None where the result is made of rgb alone.
    :param mode: ``fused``, ``rgb_only``, ``held`` (an ir frame from before its camera stalled) or
        ``ir_only``.
    :param reference: the frame whose stamp, frame id and size the outputs carry: that of rgb;
        without it, the ir frame's stamp on the grid and in the frame of the last rgb image.
    :param skew_ns: stamp of ir minus stamp of rgb, offsets applied; None where one is missing.
    :param warning: what to write into pictures, as ``IR STALLED 0.8 s``; empty while all is well.
    :param stem: the name without suffix of the image files, if it was read from files.
    """

    rgb: Frame | None
    ir: Frame | None
    mode: str
    reference: Frame
    skew_ns: int | None = None
    warning: str = ''
    stem: str = ''

    @property
    def name(self) -> str:
        """The stem of its image files, else the stamp of the result."""
        return self.stem or str(self.reference.stamp_ns)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame, and what was wrong with its picture when it came."""

    frame: Frame
    fault: str
    fault_ns: int


class PairingPolicy(Protocol):
    """What finds pairs of frames; ``dropped`` counts by cause what did not become one."""

    dropped: Counter[str]

    def push(self, stream: str, stamp_ns: int, frame: object) -> list[PolicyPair]:
        """Take the next frame of a stream and return the pairs that are certain now."""

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that wait."""

    def reset(self) -> None:
        """Forget all waiting frames."""


def make_policy(sync: SyncConfig) -> NearestPolicy | RgbHoldPolicy:
    """
    Return our own pairing, in the mode that the config names.

    :raises ConfigError: if another one is asked for: that needs ROS, so only the node has it.
    """
    if sync.policy != 'nearest':
        raise ConfigError(
            f"sync.policy '{sync.policy}' is there in the live node only, as it comes with ROS: "
            "set sync.policy to 'nearest' here"
        )
    return RgbHoldPolicy(sync) if sync.mode == 'rgb_hold' else NearestPolicy(sync)


class Synchronizer:
    """Watch both cameras, pair their frames, and continue with one if the other stalls."""

    def __init__(self, config: FusionConfig, policy: PairingPolicy | None = None) -> None:
        self._config = config
        self._policy = policy or make_policy(config.sync)
        self._offset_ns = round(
            (config.sync.ir_time_offset_ms - config.sync.rgb_time_offset_ms) * 1e6
        )
        self._last_rgb: Frame | None = None
        self._lost: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        sync, start_ns = self._config.sync, round(self._config.input_timeout_s * 1e9)
        limits = round(sync.stall_ms * 1e6), start_ns
        self._monitors = {name: CameraMonitor(*limits, is_ir=name == 'ir') for name in OTHER}
        self._good_ir: Frame | None = None
        self._alone_ns: dict[str, int | None] = {'rgb': None, 'ir': None}

    def reset(self) -> None:
        """Forget what waits and what is known of both cameras, but for drops and the rgb grid."""
        self._policy.reset()
        self._begin()

    @property
    def dropped(self) -> Counter[str]:
        """Frames and pairs that became no result, by cause."""
        return self._policy.dropped + self._lost

    @property
    def image_states(self) -> dict[str, str]:
        """Say what each camera shows: ok, dark, saturated, frozen, flat or missing."""
        return {
            name: 'missing' if watch.fault == 'missing' else watch.picture
            for name, watch in self._monitors.items()
        }

    @property
    def faults(self) -> dict[str, str]:
        """Return a sentence for each camera that has stalled and what is done about it."""
        found = {}
        for name, watch in self._monitors.items():
            if watch.fault:
                what = SENTENCES[watch.fault].format(stream=name, s=watch.fault_ns / 1e9)
                done = getattr(self._config, name).on_stall
                until_s = self._config.sync.max_age_ms / 1e3
                found[name] = f'{what}: {done}' + (
                    f' the last good one for {until_s:g} s, then rgb_only'
                    if done == 'hold'
                    else ''
                )
        return found

    def push(self, stream: str, frame: Frame) -> list[FramePair]:
        """Take the next frame of a stream and return what is to be made into results now."""
        own, other = self._monitors[stream], self._monitors[OTHER[stream]]
        new = own.see(frame)
        other.witness(frame.stamp_ns, new=new)
        if stream == 'rgb':
            self._last_rgb = frame
        elif new and not own.fault:  # a repeated picture is as old as the first of its kind
            self._good_ir = frame
        alone_ns = self._alone_ns[stream]
        if alone_ns is not None and frame.stamp_ns < alone_ns:  # a bag begins anew
            self._alone_ns[stream] = None
        seen = _Seen(frame, own.fault, own.fault_ns)
        pairs = self._policy.push(stream, frame.stamp_ns, seen)
        found = [match for pair in pairs for match in self._of(pair)]
        if other.fault == 'missing' and not any(seen in (pair.rgb, pair.ir) for pair in pairs):
            self._alone_ns[stream] = frame.stamp_ns
            found += self._without(OTHER[stream], seen, _Seen(frame, 'missing', other.fault_ns))
        return found

    def flush(self) -> list[FramePair]:
        """Return what only waits for a nearer partner: no more frames come."""
        return [match for pair in self._policy.flush() for match in self._of(pair)]

    def _of(self, pair: PolicyPair) -> list[FramePair]:
        for stream, seen in (('rgb', pair.rgb), ('ir', pair.ir)):
            alone_ns = self._alone_ns[stream]
            if alone_ns is not None and seen.frame.stamp_ns <= alone_ns:
                self._lost['too_late'] += 1  # it went out alone, or something newer did
                return []
        if pair.ir.fault:
            return self._without('ir', pair.rgb, pair.ir)
        if pair.rgb.fault:
            return self._without('rgb', pair.ir, pair.rgb)
        rgb, ir = pair.rgb.frame, pair.ir.frame
        return [FramePair(rgb, ir, 'fused', rgb, pair.skew_ns)]

    def _without(self, stalled: str, left: _Seen, fault: _Seen) -> list[FramePair]:
        """Return what the policy makes of the frame that is left."""
        policy = getattr(self._config, stalled).on_stall
        if left.fault or policy == 'drop':
            self._lost['both_stalled' if left.fault else f'{stalled}_stalled'] += 1
            return []
        warning = MARKS[fault.fault].format(stream=stalled.upper(), s=fault.fault_ns / 1e9)
        frame = left.frame
        if stalled == 'rgb':
            last = self._last_rgb
            head = frame if last is None else Frame(last.pixels, frame.stamp_ns, last.frame_id)
            return [FramePair(None, frame, 'ir_only', head, warning=warning)]
        held = self._good_ir
        if policy == 'hold' and held is not None:
            skew_ns = held.stamp_ns + self._offset_ns - frame.stamp_ns
            if abs(skew_ns) <= self._config.sync.max_age_ms * 1e6:
                return [FramePair(frame, held, 'held', frame, skew_ns, warning)]
        return [FramePair(frame, None, 'rgb_only', frame, warning=warning)]
