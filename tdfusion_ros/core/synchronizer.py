"""
Watch both cameras and decide what each result is made of.

If both cameras work, results come from the policy's pairs; if one stalls, from the other camera
alone. The live node and the offline commands use the same :class:`Synchronizer`. Each pair carries
its mode and, while a camera stalls, a warning, so the results show it.
"""

from collections import Counter
from dataclasses import dataclass

from tdfusion_ros.core.camera_monitor import CameraMonitor
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.nearest_policy import NearestPolicy
from tdfusion_ros.core.pair_counts import NO_PARTNER
from tdfusion_ros.core.pair_counts import PairCounts
from tdfusion_ros.core.pairing_policy import OTHER
from tdfusion_ros.core.pairing_policy import PairingPolicy
from tdfusion_ros.core.pairing_policy import PolicyPair
from tdfusion_ros.core.rgb_hold_policy import RgbHoldPolicy

# By fault: the sentence for logs, and the short text for images.
FAULTS = {
    'missing': (
        'no {stream} image for {s:.1f} s while the other camera sends',
        'NO {STREAM} {s:.1f} s',
    ),
    'frozen': (
        'the {stream} image has not changed for {s:.1f} s (shutter, or the camera hangs)',
        '{STREAM} STALLED {s:.1f} s',
    ),
    'flat': (
        'the {stream} image has shown no detail for {s:.1f} s (shutter or lens cap)',
        '{STREAM} FLAT {s:.1f} s',
    ),
    'coarse': (
        'the {stream} image has shown a few gray levels only for {s:.1f} s: the driver seems to '
        'send the upper 8 of 16 bits, set it to 16 bits (mono16)',
        '{STREAM} HAS A FEW LEVELS {s:.1f} s',
    ),
}


@dataclass(frozen=True, eq=False)
class FramePair:
    """
    The frames that one result is made of.

    :param rgb: None if the result is made of ir alone.
    :param ir: None if the result is made of rgb alone.
    :param mode: ``fused``, ``rgb_only``, ``ir_only``, or ``held`` (an ir frame from before its
        camera stalled).
    :param reference: gives the outputs their stamp, frame id and size: the rgb frame; without
        one, the stamp of ir with the size and the frame id of the last rgb image.
    :param skew_ns: stamp of ir minus stamp of rgb, time offsets added; None if one is missing.
    :param warning: what to write into images, as ``IR STALLED 0.8 s``; empty without a fault.
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
        """Return the stem of its image files, else the stamp of the result."""
        return self.stem or str(self.reference.stamp_ns)


@dataclass(frozen=True, eq=False)
class _Observed:
    """A frame, and the warning about its camera at that moment; empty without a fault."""

    frame: Frame
    warning: str


def _warning(stream: str, monitor: CameraMonitor) -> str:
    """Return the text that images carry while a camera has a fault; empty if it has none."""
    if not monitor.fault:
        return ''
    return FAULTS[monitor.fault][1].format(STREAM=stream.upper(), s=monitor.fault_ns / 1e9)


def make_policy(sync: SyncConfig) -> PairingPolicy:
    """Return the policy that the config names; ConfigError for one that only the live node has."""
    if sync.policy != 'nearest':
        raise ConfigError(
            f"sync.policy '{sync.policy}' works in the live node only; set it to 'nearest' here"
        )
    return RgbHoldPolicy(sync) if sync.mode == 'rgb_hold' else NearestPolicy(sync)


class Synchronizer:
    """
    Watch both cameras, pair their frames, and continue with one camera if the other stalls.

    ``counts`` has the pairs that were possible; whoever drops an image or a pair records the cause
    there.
    """

    def __init__(self, config: FusionConfig, policy: PairingPolicy | None = None) -> None:
        self._config = config
        self._policy = policy or make_policy(config.sync)
        self.counts = PairCounts(config.sync)
        self._policy.on_drop = self.counts.drop
        self._last_rgb: Frame | None = None
        self._dropped: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        stall_ns = round(self._config.sync.stall_ms * 1e6)
        start_ns = round(self._config.input_timeout_s * 1e9)
        self._monitors = {
            stream: CameraMonitor(stall_ns, start_ns, is_ir=stream == 'ir') for stream in OTHER
        }
        self._good_ir: Frame | None = None
        self._alone_ns: dict[str, int] = {}  # stamp of the last frame published alone

    def reset(self) -> None:
        """Forget waiting frames and the state of both cameras; keep the counts and rgb's grid."""
        self._policy.reset()
        self._start()

    @property
    def dropped(self) -> Counter[str]:
        """Return the number of frames and pairs that became no result, by cause."""
        return self._policy.dropped + self._dropped

    @property
    def image_states(self) -> dict[str, str]:
        """By stream: ``missing``, or ``CameraMonitor.image_state``."""
        return {
            stream: 'missing' if monitor.fault == 'missing' else monitor.image_state
            for stream, monitor in self._monitors.items()
        }

    @property
    def faults(self) -> dict[str, str]:
        """For each stream that has stalled, a sentence on the fault and on what is done."""
        sentences = {}
        for stream, monitor in self._monitors.items():
            if monitor.fault:
                fault = FAULTS[monitor.fault][0].format(stream=stream, s=monitor.fault_ns / 1e9)
                action = getattr(self._config, stream).on_stall
                if action == 'hold':
                    hold_s = self._config.sync.max_age_ms / 1e3
                    action = f'hold the last good one for {hold_s:g} s, then rgb_only'
                sentences[stream] = f'{fault}: {action}'
        return sentences

    def push(self, stream: str, frame: Frame) -> list[FramePair]:
        """Take the next frame of ``rgb`` or ``ir`` and return the pairs to process now."""
        observed, other = self._observe(stream, frame), self._monitors[OTHER[stream]]
        self.counts.see(stream, frame.stamp_ns)
        paired = self._policy.push(stream, frame.stamp_ns, observed)
        pairs = [pair for one in paired for pair in self._check(one)]
        if other.fault == 'missing' and not any(observed in (one.rgb, one.ir) for one in paired):
            self._alone_ns[stream] = frame.stamp_ns
            pairs += self._replace(OTHER[stream], observed, _warning(OTHER[stream], other))
        return pairs

    def _observe(self, stream: str, frame: Frame) -> _Observed:
        """Update both monitors and what is kept for stalls; return the frame with a warning."""
        monitor = self._monitors[stream]
        new = monitor.update(frame)
        self._monitors[OTHER[stream]].update_other(frame.stamp_ns, new=new)
        if stream == 'rgb':
            self._last_rgb = frame
        elif new and not monitor.fault:  # a repeated image keeps the age of its first copy
            self._good_ir = frame
        if frame.stamp_ns < self._alone_ns.get(stream, frame.stamp_ns):  # a bag loops
            del self._alone_ns[stream]
        return _Observed(frame, _warning(stream, monitor))

    def finish(self) -> list[FramePair]:
        """Return the last pairs; what still waits then has no partner."""
        pairs = self.flush()
        self._policy.reset(NO_PARTNER)
        return pairs

    def flush(self) -> list[FramePair]:
        """Return the pairs that wait for a nearer partner, because no more frames come."""
        return [pair for one in self._policy.flush() for pair in self._check(one)]

    def _check(self, pair: PolicyPair) -> list[FramePair]:
        """Return a pair, or what replaces it; nothing if a newer frame was published alone."""
        rgb, ir = pair.rgb.frame, pair.ir.frame
        self.counts.pair(rgb.stamp_ns, ir.stamp_ns)
        for stream, frame in (('rgb', rgb), ('ir', ir)):
            if frame.stamp_ns <= self._alone_ns.get(stream, frame.stamp_ns - 1):
                self._dropped['too_late'] += 1  # it, or a newer frame, was published alone
                self.counts.lose('too_late')
                return []
        for stalled, observed, working in (('ir', pair.ir, pair.rgb), ('rgb', pair.rgb, pair.ir)):
            if observed.warning:
                self.counts.lose('both_stalled' if working.warning else f'{stalled}_stalled')
                return self._replace(stalled, working, observed.warning)
        return [FramePair(rgb, ir, 'fused', rgb, pair.skew_ns)]

    def _replace(self, stalled: str, working: _Observed, warning: str) -> list[FramePair]:
        """Return what ``on_stall`` of the stalled stream makes of the other stream's frame."""
        action = getattr(self._config, stalled).on_stall
        if working.warning or action == 'drop':
            self._dropped['both_stalled' if working.warning else f'{stalled}_stalled'] += 1
            return []
        frame, last, good = working.frame, self._last_rgb, self._good_ir
        if stalled == 'rgb':
            grid = frame if last is None else Frame(last.pixels, frame.stamp_ns, last.frame_id)
            return [FramePair(None, frame, 'ir_only', grid, warning=warning)]
        if action == 'hold' and good is not None:
            offsets_ns = self._config.sync.offsets_ns
            skew_ns = good.stamp_ns + offsets_ns['ir'] - frame.stamp_ns - offsets_ns['rgb']
            if abs(skew_ns) <= self._config.sync.max_age_ms * 1e6:
                return [FramePair(frame, good, 'held', frame, skew_ns, warning)]
        return [FramePair(frame, None, 'rgb_only', frame, warning=warning)]
