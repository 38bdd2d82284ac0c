import json
import sys

import onnx
import pytest
import torch

from benchmarks import pareto
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from training.checkpoint import save_run

for package in ('matplotlib', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(package)

pytestmark = pytest.mark.torch


def test_networks_are_compared_with_the_first_and_drawn(
    write_pairs, data_root, tmp_path, monkeypatch, capsys
):
    root = write_pairs('rgb', 'ir', ['a', 'b'])
    runs = [str(tmp_path / name) for name in ('first', 'weaker')]
    torch.manual_seed(0)
    for run in runs:
        save_run(run, FusionRT(FusionRTConfig(width=4, depth=2)), {})
    export, exported = pareto.export_fusion, []

    def export_once(fusion, path):
        """Export the first network; of the second only the weights differ."""
        if not exported:
            exported.append(export(fusion, path))
            return path
        graph = onnx.load(exported[0])
        for tensor in graph.graph.initializer:
            weights = onnx.numpy_helper.to_array(tensor)
            if weights.ndim == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(weights / 2, tensor.name))
        onnx.save(graph, path)
        return path

    monkeypatch.setattr(pareto, 'export_fusion', export_once)
    monkeypatch.setattr(pareto, 'SIZE_HW', (64, 96))
    sets = ['--images', str(root / 'rgb'), str(root / 'ir'), '--data', str(data_root), 'val']
    plot = tmp_path / 'plot.png'
    monkeypatch.setattr(sys, 'argv', ['pareto', *runs, *sets, '--rounds', '1', '-o', str(plot)])
    assert pareto.main() == 0
    assert plot.read_bytes().startswith(b'\x89PNG')
    report = json.loads(plot.with_suffix('.json').read_text())
    rows = report['rows']
    assert set(report['quality']) == {str(root / 'rgb'), f'{data_root} val'}
    assert rows[runs[0]]['lowest'] == rows[runs[0]]['faster'] == 1
    shares = [
        figures[runs[1]][key] / figures[runs[0]][key]
        for figures in report['quality'].values()
        for key in figures[runs[0]]
        if figures[runs[0]][key] > 0
    ]
    assert rows[runs[1]]['lowest'] == pytest.approx(min(shares)) != 1
    assert len(shares) > 4
    assert f'| {runs[1]} |' in capsys.readouterr().out


def test_a_figure_that_is_not_positive_for_the_first_has_no_share():
    rows = {'a': {'SCD': -0.5, 'VIF': 0.2, 'Qabf': 0.5, 'SSIM': 0.5}}
    rows['b'] = {'SCD': 0.5, 'VIF': 0.1, 'Qabf': 0.5, 'SSIM': 1.0}
    assert pareto.shares({'s': rows}, 'b', 'a') == {'s VIF': 0.5, 's Qabf': 1.0, 's SSIM': 2.0}
