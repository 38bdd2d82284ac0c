"""What is requested of Torch-TensorRT, checked against the signatures of its versions."""

from importlib.machinery import ModuleSpec
import json
import logging
from pathlib import Path
import sys
from types import ModuleType
from types import SimpleNamespace

import pytest

from tdfusion_ros.backends import engine_builder
from tdfusion_ros.backends import gpu
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

SIGNATURES = {
    version: names.split()
    for version, names in json.loads(
        (Path(__file__).parent / 'torch_tensorrt_signatures.json').read_text(encoding='utf-8')
    )['keyword_only'].items()
}
USABLE = [version for version in SIGNATURES if version != '2.5']


def converter(version, behave=lambda program, options: b'plan'):
    """Return a function with the signature of ``version``; ``behave`` gets its options."""
    names = ', '.join(f'{name}=None' for name in SIGNATURES.get(version, SIGNATURES['2.13']))
    space = {'behave': behave}
    exec(
        f'def convert(exported_program, inputs=None, *, {names}, **kwargs):\n'
        '    assert not kwargs, f"ignored: {kwargs}"\n'
        '    return behave(exported_program, {k: v for k, v in locals().items()'
        ' if v is not None})',
        space,
    )
    return space['convert']


@pytest.fixture
def install(monkeypatch, fake_cuda):
    """Install fakes of torch_tensorrt and tensorrt: ``install(version, behave)``."""

    def installing(version, *behave):
        package, dynamo = ModuleType('torch_tensorrt'), ModuleType('torch_tensorrt.dynamo')
        package.__version__ = f'{version}.0'
        package.dynamo = dynamo
        dynamo.convert_exported_program_to_serialized_trt_engine = converter(version, *behave)
        library = ModuleType('tensorrt')
        library.__version__, library.__spec__ = '10.3.0', ModuleSpec('tensorrt', None)
        for module in (package, dynamo, library):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    return installing


@pytest.mark.parametrize('version', USABLE)
def test_options_exist_type_strongly_and_write_nothing_where_others_can(version):
    chosen = engine_builder.options(converter(version), Path('/private'))
    assert set(chosen) <= set(SIGNATURES[version])
    assert 'enabled_precisions' not in chosen
    minor = int(version.split('.')[1])
    assert chosen.get('use_explicit_typing', 'none') == (True if minor < 13 else 'none')
    assert chosen['use_fp32_acc'] is True
    assert chosen['disable_tf32'] is True
    assert chosen['timing_cache_path'] == '/private/timing'
    assert not chosen.get('cache_built_engines')
    assert not chosen.get('reuse_cached_engines')


def test_version_with_weak_typing_only_is_refused():
    with pytest.raises(ConfigError, match=r'install 2\.8 or later'):
        engine_builder.options(converter('2.5'), Path('/private'))


PROBE = {'task': 'probe', 'route': 'torch_tensorrt'}


@pytest.mark.torch
def test_probe_returns_all_that_an_engine_depends_on(install):
    import torch

    install(torch.__version__.rpartition('.')[0])
    facts = engine_builder.perform(PROBE)
    names = {'torch', 'torch_tensorrt', 'tensorrt', 'gpu', 'capability', 'driver'}
    assert set(facts['key']) == names
    assert facts['key']['torch'] == torch.__version__


@pytest.mark.torch
def test_probe_refuses_versions_that_do_not_match_and_a_torch_without_gpu(install, monkeypatch):
    import torch

    install('2.6')
    with pytest.raises(ConfigError, match=r'torch .* and torch_tensorrt 2\.6\.0 do not match'):
        engine_builder.perform(PROBE)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='sees no GPU'):
        engine_builder.perform(PROBE)


def test_probe_of_onnx_runtime_requires_its_tensorrt_provider(monkeypatch, driver):
    providers = ['CPUExecutionProvider']
    runtime = SimpleNamespace(__version__='1.22.0', get_available_providers=lambda: providers)
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    monkeypatch.setattr(gpu, 'tensorrt_version', lambda: '10.3.0')
    request = {'task': 'probe', 'route': 'onnxruntime'}
    with pytest.raises(ConfigError, match='has no TensorRT provider'):
        engine_builder.perform(request)
    providers.append('TensorrtExecutionProvider')
    key = engine_builder.perform(request)['key']
    assert key['onnxruntime'] == '1.22.0'
    assert key['tensorrt'] == '10.3.0'


@pytest.fixture
def build(shipped, tmp_path):
    request = {
        'task': 'build',
        'route': 'torch_tensorrt',
        'bundle': str(shipped.folder),
        'files': dict(shipped.contract.sha256),
        'size_hw': [32, 64],
        'folder': str(tmp_path),
    }
    return lambda **changes: engine_builder.perform({**request, **changes})


@pytest.mark.torch
def test_network_is_exported_in_half_precision_between_float32(install, build, tmp_path):
    import torch

    given = {}

    def behave(program, options):
        given.update(options, program=program)
        return b'plan'

    install('2.8', behave)
    build()
    assert [path.name for path in tmp_path.iterdir()] == ['engine.plan']
    assert (tmp_path / 'engine.plan').read_bytes() == b'plan'
    shapes = [tuple(tensor.shape) for tensor in given['arg_inputs']]
    assert shapes == [(32, 64, 3), (32, 64), (32, 64)]
    nodes = list(given['program'].graph.nodes)
    types = {node.name: getattr(node.meta.get('val'), 'dtype', None) for node in nodes}
    assert torch.float64 not in types.values()
    names = ('rgb', 'ir', 'coverage', *(node.name for node in nodes[-1].args[0]))
    assert {types[name] for name in names} == {torch.float32}
    inputs = [types[node.args[0].name] for node in nodes if 'conv2d' in str(node.target)]
    assert set(inputs) == {torch.float32, torch.half}  # as in the graph that is compiled elsewhere


@pytest.mark.torch
@pytest.mark.parametrize('version', ['2.8', '2.13'])
def test_reason_of_a_failed_conversion_is_reported(install, build, tmp_path, version):
    def behave(program, options):
        if version == '2.13':
            raise RuntimeError('no tactic for conv_7')
        try:
            raise ValueError('no tactic for conv_7')
        except ValueError:
            logging.getLogger('torch_tensorrt.dynamo._compiler').error('While …', exc_info=True)
        return result  # noqa: F821 - as the real one does up to 2.12

    install(version, behave)
    with pytest.raises(ModelError, match=r'cannot build the engine: .*no tactic for conv_7'):
        build()
    assert not list(tmp_path.iterdir())


def test_bundle_that_has_changed_since_the_request_is_refused(build):
    with pytest.raises(ModelError, match='has changed since the start'):
        build(files={'weights.safetensors': '0' * 64})
