"""The report of a bag: what went in, what came out, how long it took, and what is not known."""

from datetime import datetime
from datetime import timezone
from pathlib import Path

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import IMAGE_TYPES
from tdfusion_ros.tools.view import detections
from tdfusion_ros.tools.view import facts
from tdfusion_ros.tools.view import page
from tdfusion_ros.tools.view import pictures
from tdfusion_ros.tools.view import timing
from tdfusion_ros.tools.view.pictures import Source
from tdfusion_ros.tools.view.recording import read
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.topics import camera
from tdfusion_ros.tools.view.topics import find_roles
from tdfusion_ros.tools.view.topics import Roles
from tdfusion_ros.tools.view.words import plural
from tdfusion_ros.tools.view.words import seconds
from tdfusion_ros.tools.view.words import signed

MOST_TOPICS = 60
MOST_MOMENTS = 24
MOST_ROWS = 12


def report(
    bag: BagReader,
    inputs: BagReader | None = None,
    *,
    namespace: str | None = None,
    rgb: str = '',
    ir: str = '',
    most: int = 8,
) -> str:
    """
    Return the report as one HTML file.

    :param inputs: the bag that the results were made from, where it is another one.
    :param namespace: of the rig; None: the first.
    :param rgb, ir: image topics by name, where they do not end as ours.
    :param most: rows of the contact sheet.
    """
    kinds = bag.topics()
    named = ('', '') if inputs else (rgb, ir)
    roles = find_roles(kinds, namespace, *named)
    result = source = Source(bag, read(bag, roles))
    if inputs:
        space, theirs = roles.namespace, inputs.topics()
        cameras = Roles(
            space, rgb=camera(theirs, space, 'rgb', rgb), ir=camera(theirs, space, 'ir', ir)
        )
        source = Source(inputs, read(inputs, cameras))
    times = timing.Timing(result.recording, source.recording, apart=source is not result)
    rows = pictures.moments(result, source, min(most, MOST_MOMENTS))
    name = bag.path.name
    body = [
        _head(result, source),
        page.tiles(timing.tiles(times)),
        page.missing([*_missing(result, source), *times.missing()]),
        _sheet(times, rows),
        timing.timing_section(times),
        detections.section(times),
        _node_section(result.recording),
        _topic_section('Topics', result.recording),
    ]
    if source is not result:
        body.append(_topic_section(f'Topics of {source.reader.path.name}', source.recording))
    return page.page(f'{name}: fusion report', '\n'.join(part for part in body if part))


def write(path: Path, text: str) -> None:
    """Write the report; raise BagError where that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise BagError(f'report {path} cannot be written: {error}') from None


def _head(result: Source, source: Source) -> str:
    lines, recording = [], result.recording
    span = facts.span_ns(recording)
    if span:
        begin = datetime.fromtimestamp(span[0] / 1e9, timezone.utc)
        number = sum(len(track.times_ns) for track in recording.tracks.values())
        lines.append(
            f'{begin:%Y-%m-%d %H:%M:%S} UTC · {seconds((span[1] - span[0]) / 1e9)} · '
            f'{number:,} messages on {len(recording.tracks)} topics'
        )
    if recording.roles.namespace:
        lines.append(f'Rig {recording.roles.namespace}')
    if source is not result:
        lines.append(f'Camera images from {source.reader.path.name}, paired by their stamps')
    return page.head('tdfusion_ros · report of a bag', result.reader.path.name, lines)


def _missing(result: Source, source: Source) -> list[str]:
    """Return a sentence for everything that could not be read or was not recorded."""
    out, roles, recording = [], source.recording.roles, result.recording
    images = [t for t, kind in source.reader.topics().items() if kind in IMAGE_TYPES]
    for stream in ('rgb', 'ir'):
        if not getattr(roles, stream):
            other = f'its image topics are {", ".join(images)}' if images else 'it has no images'
            out.append(
                f'No {stream} images recorded: no topic of {source.reader.path.name} ends in '
                f'/{stream}/image_raw; {other}. Name the topic with --{stream}-topic, or the bag '
                'that was fused with --inputs.'
            )
        elif not source.recording.track(stream).stamps_ns:
            out.append(f'No {stream} images recorded: {getattr(roles, stream)} is empty.')
    if not recording.track('fused').stamps_ns:
        out.append('No fused images recorded.')
    if not recording.track('detections').stamps_ns:
        out.append('No detections recorded.')
    if not recording.health.times_ns:
        out.append(
            "No diagnostics of the node recorded: what was dropped and why, and the node's own "
            'times are not known.'
        )
    for rig in recording.roles.others:
        out.append(f'The results of the rig {rig or "/"}: choose it with --namespace.')
    for each in {id(s): s for s in (result, source)}.values():
        if each.recording.broken:
            out.append(f'Everything behind a fault: {each.recording.broken}.')
        for topic, number in each.recording.unreadable.items():
            out.append(f'{number} messages of {topic} that cannot be read.')
    return out


def _sheet(times: 'timing.Timing', rows: list[pictures.Moment]) -> str:
    if not rows:
        return ''
    told = []
    for moment in rows:
        parts = []
        if moment.skew_ms is not None:
            parts.append(f'ir {signed(moment.skew_ms)} ms')
        if moment.detections is not None:
            parts.append(plural(moment.detections, 'detection'))
        at = seconds((moment.stamp_ns - times.origin_ns) / 1e9)
        told.append((at, parts, moment))
    return page.section(
        'Moments',
        f'{len(rows)} moments, evenly spread. Times count from the first stamp; infrared is the '
        'image nearest in time, 16 bits stretched for display.',
        page.sheet(told, ('rgb', 'infrared', 'fused, with detections')),
        page.legend(detections.keys(times)),
    )


def _node_section(recording: Recording) -> str:
    health = recording.health
    if not health.times_ns:
        return ''
    parts = []
    drops = facts.rises(health, 'dropped.') | facts.rises(health, 'exceptions')
    if drops:
        rows = [
            (name.removeprefix('dropped.'), f'{rise:,}', f'{end:,}')
            for name, (rise, end) in drops.items()
        ]
        titles = ('dropped, by cause', 'in this bag', 'since the node began')
        parts.append(page.table(titles, rows[: 2 * MOST_ROWS], 2))
    else:
        parts.append(page.sentence('It dropped nothing.'))
    if health.warned:
        said = [(text, f'{n:,}') for text, n in health.warned.most_common(MOST_ROWS)]
        parts.append(page.table(('warnings, numbers left out', 'messages'), said, 1))
    number = len(health.times_ns)
    return page.section(
        'What the node said',
        f'From {plural(number, "diagnostics message")}, {sum(health.warned.values()):,} of '
        f'them warnings; engine: {health.last.get("backend", "not told")}.',
        *parts,
    )


def _topic_section(title: str, recording: Recording) -> str:
    rows = []
    for topic, track in sorted(recording.tracks.items()):
        rate = facts.rate_hz(track)
        rows.append(
            (topic, track.kind, f'{len(track.times_ns):,}', '-' if rate is None else f'{rate:.2f}')
        )
    note = 'The rate is the mean between the first and the last message of a topic.'
    if len(rows) > MOST_TOPICS:
        note += f' The first {MOST_TOPICS} of {len(rows)}.'
    titles = ('topic', 'type', 'messages', 'rate [Hz]')
    return page.section(title, note, page.table(titles, rows[:MOST_TOPICS], 2, wide=True))
