"""
Compare our pairing with message_filters on the same arrivals.

    python -m benchmarks.pairing
    python -m benchmarks.pairing --max-skew-ms 50

rgb at 30 Hz and ir at 9 Hz for a minute: stamps with a fixed seed, without images and DDS.
"""

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.nearest_policy import NearestPolicy
from tdfusion_ros.core.pairing_policy import PairingPolicy
from tdfusion_ros.node.approximate_policy import ApproximatePolicy
from training import shell

RATES_HZ = {'rgb': 30.0, 'ir': 9.0}
FAR_NS = 10**18
POLICIES: dict[str, Callable[[SyncConfig], PairingPolicy]] = {
    'nearest': NearestPolicy,
    'approximate': ApproximatePolicy,
}
HEAD = ('scene', 'policy', 'pairs', 'of', '|skew|', 'best', 'wait', 'most', 'loops', 'mixed')
LINE = '{:<26} {:<12} {:>5} {:>5} {:>7} {:>6} {:>6} {:>6}  {:<20} {:>5}'


class Arrival(NamedTuple):
    """A frame that reaches the node; ``stamp_ns`` restarts in each loop, ``at_ms`` does not."""

    at_ms: float
    stream: str
    stamp_ns: int
    loop: int


@dataclass(frozen=True)
class Scene:
    """
    How two cameras run and how their frames arrive.

    :param jitter_ms: standard deviation of the stamps; ``delay_ms``: from stamp to arrival.
    :param spread_ms: largest random addition to the delay; above a period, frames overtake.
    :param loops: how often the same frames are played.
    """

    name: str
    jitter_ms: float = 2.0
    delay_ms: tuple[float, float] = (5.0, 5.0)
    spread_ms: float = 0.0
    loops: int = 1
    seconds: float = 60.0

    def arrivals(self) -> list[Arrival]:
        """Return all frames in the order in which they reach the node."""
        rng = np.random.default_rng(0)
        found = []
        for (stream, hz), delay_ms in zip(RATES_HZ.items(), self.delay_ms, strict=True):
            count = round(self.seconds * hz)
            ms = np.arange(count) * 1e3 / hz + rng.normal(0, self.jitter_ms, count)
            for loop in range(self.loops):
                begun_ms = loop * (self.seconds * 1e3 + 500)
                at_ms = begun_ms + ms + delay_ms + rng.uniform(0, self.spread_ms, count)
                found += [
                    Arrival(at, stream, round((10_000 + stamp) * 1e6), loop)
                    for at, stamp in zip(at_ms.tolist(), ms.tolist(), strict=True)
                ]
        return sorted(found)


SCENES = (
    Scene('jitter 2 ms'),
    Scene('jitter 8 ms', jitter_ms=8.0),
    Scene('ir arrives 80 ms later', delay_ms=(5.0, 85.0)),
    Scene('frames overtake each other', spread_ms=45.0),
    Scene('bag of 15 s in 4 loops', loops=4, seconds=15.0),
)


def best_skews_ms(arrivals: list[Arrival], max_skew_ms: float) -> np.ndarray:
    """Return the skew of every ir frame to its nearest rgb frame, up to the limit [ms]."""
    stamps = {
        stream: np.array([(a.loop, a.stamp_ns) for a in arrivals if a.stream == stream])
        for stream in RATES_HZ
    }
    apart_ns = stamps['rgb'][:, None] - stamps['ir']
    apart_ns[apart_ns[..., 0] != 0] = FAR_NS
    skews_ms = np.abs(apart_ns[..., 1]).min(axis=0) / 1e6
    return skews_ms[skews_ms <= max_skew_ms]


def columns(
    scene: Scene, arrivals: list[Arrival], policy: PairingPolicy, best_ms: np.ndarray
) -> list[Any]:
    """
    Return what a policy makes of the arrivals, in the order of HEAD; all times in ms.

    A pair waits (mean, most) from the arrival of its later frame until the policy returns it,
    except at the end; ``mixed`` counts pairs of two loops.
    """
    pairs, waits_ms = [], []
    for arrival in arrivals:
        left = policy.push(arrival.stream, arrival.stamp_ns, arrival)
        waits_ms += [arrival.at_ms - max(pair.rgb.at_ms, pair.ir.at_ms) for pair in left]
        pairs += left
    pairs += policy.flush()
    whole = [pair.rgb.loop for pair in pairs if pair.rgb.loop == pair.ir.loop]
    skew_ms = np.mean([abs(pair.skew_ns) / 1e6 for pair in pairs])
    times_ms = skew_ms, best_ms.mean(), np.mean(waits_ms), max(waits_ms)
    loops = ' '.join(map(str, np.bincount(whole, minlength=scene.loops)))
    times = (f'{ms:.2f}' for ms in times_ms)
    return [len(pairs), len(best_ms), *times, loops, len(pairs) - len(whole)]


def lines(scene: Scene, sync: SyncConfig) -> Iterator[str]:
    """Yield the line of each policy for a scene."""
    arrivals = scene.arrivals()
    best_ms = best_skews_ms(arrivals, sync.max_skew_ms)
    for policy, kind in POLICIES.items():
        try:
            found = columns(scene, arrivals, kind(sync), best_ms)
        except ConfigError:
            yield f'{scene.name:<26} {policy:<12} message_filters is not installed'
            continue
        yield LINE.format(scene.name, policy, *found)


def main() -> None:
    """Print the table."""
    parser = shell.parser('benchmarks.pairing', __doc__)
    default_ms = SyncConfig().max_skew_ms
    parser.add_argument('--max-skew-ms', type=float, default=default_ms, metavar='MS')
    sync = SyncConfig(max_skew_ms=parser.parse_args().max_skew_ms)
    print(LINE.format(*HEAD))
    for scene in SCENES:
        print(*lines(scene, sync), sep='\n')


if __name__ == '__main__':
    shell.run('pairing', main)
