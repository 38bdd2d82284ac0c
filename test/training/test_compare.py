from contextlib import suppress
from dataclasses import replace
import json
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from tdfusion_ros.core.errors import FusionError
from training import compare
from training.compare import is_finished
from training.compare import train_side_by_side
from training.loop.state import save
from training.train import open_run


@pytest.fixture
def main(data_root, tmp_path, monkeypatch):
    """Return compare.main with settings for short runs; it returns the table."""
    settings = ['steps=1', 'batch=2', 'crop_hw=[64, 64]', 'mosaic=0', f'data={data_root}']
    monkeypatch.setattr(compare, 'RESAMPLES', 10)

    def run(*options, setting='threads=1'):
        output = tmp_path / 'compare'
        compare.main([*settings, setting, '--split', 'train', '-o', str(output), *options])
        return json.loads((output / 'table.json').read_text())

    return run


def test_every_input_is_trained_from_scratch_with_every_seed(main, tmp_path, capsys, fusion_run):
    fused = ['--fused', f'ours={fusion_run}']
    table = main('--simple', 'ir', 'early', *fused, '--seeds', '0', '1')
    assert list(table) == ['ir', 'early', 'ours']
    assert all(len(row['seeds']) == 2 for row in table.values())
    runs = [tmp_path / 'compare' / f'{row}_{seed}' for row in table for seed in (0, 1)]
    assert len({(run / 'weights.safetensors').read_bytes() for run in runs}) == 6
    assert '±' in capsys.readouterr().out


def test_finished_runs_are_measured_but_not_trained_again(main, monkeypatch):
    table = main('--simple', 'ir')
    monkeypatch.setattr(compare, 'train', None)
    assert main('--simple', 'ir') == table
    with pytest.raises(FusionError, match='other settings'):
        main('--simple', 'ir', setting='lr=0.1')


def test_runs_side_by_side_end_as_one_after_the_other(main, tmp_path, monkeypatch, capsys):
    options = ['--simple', 'ir', 'rgb', '--seeds', '3']
    table = main(*options)
    runs = [tmp_path / 'compare' / name for name in ('ir_3', 'rgb_3')]
    weights = [(run / 'weights.safetensors').read_bytes() for run in runs]
    for run in runs:
        shutil.rmtree(run)
    monkeypatch.setattr(compare, 'train', None)
    assert main(*options, '--parallel', '2') == table
    assert [(run / 'weights.safetensors').read_bytes() for run in runs] == weights
    assert f'{runs[0]} is finished' in capsys.readouterr().out
    assert all('4 pairs' in (run / 'output.txt').read_text() for run in runs)


def test_a_failed_run_does_not_end_those_beside_it_and_is_named(short_run, tmp_path, capfd):
    good, bad = (short_run('detection', source='ir', run=str(tmp_path / n)) for n in 'ab')
    message = rf'^1 of 2 runs failed; .* {bad.run} \(training: .*gone is not a folder'
    with pytest.raises(FusionError, match=message):
        train_side_by_side([replace(bad, data=str(tmp_path / 'gone')), good], 2)
    assert is_finished(good)
    assert not capfd.readouterr().err


def test_the_end_of_a_comparison_ends_its_runs(data_root, tmp_path, root):
    output = tmp_path / 'compare'
    options = ['steps=1000000', 'crop_hw=[64, 64]', 'batch=2', 'mosaic=0', f'data={data_root}']
    options += ['--simple', 'ir', 'rgb', '--parallel', '2', '-o', str(output)]
    command = [sys.executable, '-m', 'training.compare', *options]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    logs = [output / f'{name}_0' / 'log.jsonl' for name in ('ir', 'rgb')]
    while not all(log.is_file() for log in logs):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):  # another process, which has ended since
            assert str(output).encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--fused', 'ours=gone'], 'gone is not a finished training run'),
        (['--fused', 'ours'], 'expected NAME=RUN'),
        (['--fused', 'ir=run'], 'there is another row ir'),
        (['--fused', 'ours=run', 'ours=other'], 'there is another row ours'),
        (['--against', 'ours'], 'the rows are ir, rgb'),
        (['--simple', '--fused'], 'nothing to compare'),
        (['--split', 'gone'], 'gone.txt is missing'),
    ],
)
def test_wrong_options_are_reported_before_training(main, monkeypatch, options, message):
    monkeypatch.setattr(compare, 'train', None)
    with pytest.raises(FusionError, match=message):
        main(*options)


def test_a_seed_counts_once(main, capsys):
    with pytest.raises(SystemExit):
        main('--simple', 'ir', '--seeds', '0', '1', '0')
    assert '--seeds takes different numbers' in capsys.readouterr().err


@pytest.mark.parametrize('damage', ['other settings', 'finished but damaged'])
def test_a_run_of_the_last_row_that_cannot_go_on_is_reported_before_training(
    main, tmp_path, monkeypatch, damage
):
    run = tmp_path / 'compare' / 'early_1'
    options = ['--simple', 'ir', 'early', '--seeds', '0', '1']
    if damage == 'other settings':  # interrupted after its first step
        with monkeypatch.context() as patch:
            patch.setattr(compare, 'train', stop_after_a_step)
            with pytest.raises(RuntimeError, match='stop'):
                main('--simple', 'early', '--seeds', '1', setting='lr=0.1')
    else:
        main('--simple', 'early', '--seeds', '1')
        (run / 'weights.safetensors').write_bytes(b'')
    monkeypatch.setattr(compare, 'train', None)
    with pytest.raises(FusionError, match='early_1'):
        main(*options)


def stop_after_a_step(config, samples):
    """Leave a run as an interruption does."""
    state, _ = open_run(config, torch.device('cpu'))
    save(state, 1)
    raise RuntimeError('stop')
