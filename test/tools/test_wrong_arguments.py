"""Wrong arguments of every command: one error line, exit status 1, and nothing is written."""

import shutil

import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import settings
from tdfusion_ros.tools.options import NODE_ONLY


@pytest.fixture
def places(demo, folders, write_bag, demo_records, tmp_path):
    """Return the paths that the words of a command line stand for."""
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'bad.yaml').write_text('a: [\n b\n')
    (tmp_path / 'image.png').write_bytes(b'\x89PNG')
    (tmp_path / 'precious').write_text('precious')
    (tmp_path / 'fused.mp4').touch()
    points = [(x, y, 0.9 * x + 10, 0.9 * y + 20) for x in (50, 300, 590) for y in (40, 240, 400)]
    (tmp_path / 'points.csv').write_text('\n'.join(','.join(map(str, row)) for row in points))
    (tmp_path / 'info.yaml').write_text(
        'image_width: 640\nimage_height: 480\ndistortion_model: plumb_bob\n'
        'camera_matrix: {data: [554.0, 0, 319.5, 0, 554.0, 239.5, 0, 0, 1]}\n'
        'distortion_coefficients: {data: [0, 0, 0, 0, 0]}\n'
    )
    shutil.copytree(demo, tmp_path / 'corrupted')
    data = (demo / 'm3svd_smoke.mcap').read_bytes()
    (tmp_path / 'corrupted' / 'm3svd_smoke.mcap').write_bytes(bytes(len(data)))
    infos = [record for record in demo_records if record[0].endswith('camera_info')]
    write_bag(tmp_path / 'infos', infos)
    names = [path.name for path in tmp_path.iterdir()] + [
        'new',
        'new.mp4',
        'nowhere',
        'rgb/new',
        'infos/new',
    ]
    return {'demo': demo, **{name: tmp_path / name for name in names}}


CPU = '-p backend=cpu'
BOARD = 'calibrate nowhere -o new --board'  # refused before the pairs are read
WRONG = [
    ('fuse nowhere -o new', 'nowhere does not exist'),
    ('fuse rgb -o new', 'it has images; pairs are read from two folders of images or two videos'),
    *(
        (line, 'fused.mp4 is one video, not a bag; pairs are read from two')
        for line in ('fuse fused.mp4 -o new', 'calibrate fused.mp4 -o new', 'bench fused.mp4')
    ),
    ('calibrate image.png -o new', 'image.png is one image, not a bag'),
    ('fuse demo -o precious/new -p model=nowhere', 'cannot be written: Not a directory'),
    ('fuse demo -o new -p save_folder=new', 'no parameter of the node alone'),
    ('fuse corrupted -o new', 'corrupted cannot be opened'),
    ('fuse infos -o new', 'no rgb topic'),
    ('fuse rgb empty -o new', 'empty has no images'),
    ('fuse rgb nowhere -o new', 'nowhere is not a folder: correct the path'),
    ('fuse rgb ir ir -o new', 'one bag, two folders or two videos'),
    ('fuse rgb ir -o new --to bag', 'cannot become a bag'),
    ('fuse demo -o new.mp4 -p model=nowhere', 'is written from two videos'),
    ('fuse rgb ir -o empty', 'empty exists: name a new folder'),
    ('fuse demo -o empty', '/empty exists: name a new folder'),
    ('fuse rgb ir -o rgb/new', 'rgb/new is inside the input '),
    ('fuse ir rgb -o rgb/new', 'rgb/new is inside the input '),
    ('fuse rgb ir -o new -p score_treshold=0.5', "unknown setting 'score_treshold'"),
    ('fuse rgb ir -o new -p calibration=nowhere', 'nowhere cannot be read: No such file'),
    ('fuse rgb ir -o new -p score_threshold', 'NAME=VALUE'),
    ('fuse rgb ir -o new -p score_threshold=[', 'not YAML'),
    ('fuse rgb ir -o new --config bad.yaml', 'bad.yaml is not a parameter file: line 3, column 1'),
    ('fuse rgb ir -o new --config image.png', 'image.png is not a parameter file: it is not a te'),
    ('fuse rgb ir -o new --config nowhere', 'nowhere is not a parameter file: No such file'),
    (
        'fuse demo -o new --rgb-topic /ir/image_raw --ir-topic /ir/image_raw',
        'has one topic for both cameras, /ir/image_raw',
    ),
    (f'fuse demo -o new -p sync.ir_time_offset_ms=50 {CPU}', 'no pair was fused'),
    (
        'fuse demo -o new -p sync.mode=rgb_hold -p sync.ir_time_offset_ms=5000 '
        f'-p sync.stall_ms=0 {CPU}',
        'sync.hold_max_age_ms',
    ),
    ('view nowhere', 'does not exist'),
    ('view', 'name a bag with results'),
    ('view rgb ir', 'first run tdfusion fuse RGB IR -o RESULT'),
    ('view fused.mp4', 'is a video: play it'),
    ('view rgb', 'it has images; pairs are read from two folders'),
    ('view empty', 'not a bag: expected metadata.yaml, .mcap or .db3 files in it'),
    ('view infos', 'infos has no images and no results that can be shown'),
    ('view infos -o infos/new', 'infos/new is inside the input '),
    ('view demo --inputs infos -o infos/new', 'infos/new is inside the input '),
    ('view demo -p model=wrong', 'view uses only sync.*: leave out -p model'),
    ('view demo --rgb-topic /left', 'no rgb topic /left'),
    ('view demo --namespace front', 'no results in namespace'),
    ('view demo -o empty', 'cannot be written: Is a directory'),
    ('view demo --moments 25', '0 to 24'),
    ('view demo -o precious', 'precious exists: name a new file, or add --overwrite'),
    ('bench --frames 0', '--frames must be at least 1'),
    ('bench a b c', 'one bag or two folders'),
    ('bench --size 640', "WIDTHxHEIGHT, such as 640x480, got '640'"),
    ('build --size 0x480', "WIDTHxHEIGHT, such as 640x480, got '0x480'"),
    ('build --size 640x480x3', "got '640x480x3'"),
    ('bench nowhere', 'does not exist'),
    ('bench -p model=nowhere', 'shipped models'),
    ('bench -o precious/report.json', 'cannot be written'),
    ('bench rgb ir -o rgb/new', 'rgb/new is inside the input '),
    ('build -p score_threshold=0.5', 'build uses only model, backend, cpu_threads: leave out'),
    ('bench demo -o precious', 'precious exists: name a new file, or add --overwrite'),
    ('calibrate -o new', 'give a bag, two folders'),
    ('calibrate --points points.csv -o precious/rig.yaml', 'cannot be written'),
    ('calibrate --points points.csv -o points.csv --overwrite', 'points.csv is the input '),
    ('calibrate nowhere -o new --start nowhere', 'nowhere is not a file: correct the path'),
    ('calibrate nowhere -o new --focal-px -1', 'must be above 0'),
    ('calibrate nowhere -o new.png', 'new.png is the name of the picture'),
    ('calibrate nowhere --cameras -o new', 'give the distance'),
    (f'{BOARD} discs 4x6 --spacing-m 0.1', 'give the distance'),
    ('calibrate nowhere -o new', 'does not exist'),
    ('calibrate rgb ir -o ir/rig.yaml', 'ir/rig.yaml is inside the input '),
    ('calibrate rgb ir -o new --overlay rgb/new.png', 'rgb/new.png is inside the input '),
    ('calibrate --points points.csv --cameras -o new', 'choose one'),
    ('calibrate demo --cameras --depth-m 5 -o new', 'does not connect'),
    (f'{BOARD} dots 4x6', "discs or checkerboard, got 'dots'"),
    (f'{BOARD} discs 4x', "as 4x6, got '4x'"),
    (f'{BOARD} discs 4x6', 'give --spacing-m'),
    (f'{BOARD} discs 4x6 --spacing-m 10', 'in meters: 0.005 to 1.0, got 10.0'),
    ('calibrate demo --spacing-m 0.1 -o new', 'add --board KIND SIZE'),
    ('calibrate --board discs 4x6 --spacing-m 0.1 -o new', '--board needs pairs'),
    ('calibrate demo --pairs 0 -o new', '--pairs must be at least 1'),
    ('calibrate --rgb-info info.yaml --depth-m 5 -o new', 'the camera_info of ir is missing'),
    ('calibrate demo -o precious', 'precious exists: name a new file, or add --overwrite'),
]


def test_parameters_of_the_node_alone_exist():
    assert {name for name, _, _ in settings()} > set(NODE_ONLY)


@pytest.mark.parametrize(('line', 'words'), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_arguments_are_one_error_line_with_exit_status_1(
    places, line, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    assert main([str(places.get(word, word)) for word in line.split()]) == 1
    *others, error = capsys.readouterr().err.splitlines()
    assert error.startswith('tdfusion: ')
    assert words in error
    assert not others or line.startswith('bench')  # which says first what it reads
    assert sorted(tmp_path.rglob('*')) == before
    assert (tmp_path / 'precious').read_text() == 'precious'
