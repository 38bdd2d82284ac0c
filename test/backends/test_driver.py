"""Facts from the NVIDIA driver, with a fake driver compiled in the test."""

import ctypes
import shutil
import subprocess

import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.core.errors import ConfigError

SOURCE = """
#include <string.h>
int cuInit(unsigned flags) { return flags ? 1 : FAULT; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device == 7 ? "Orin (nvgpu)" : "wrong", length); return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = device != 7 ? -1 : attribute == 75 ? 8 : attribute == 76 ? 7 : -1; return 0;
}
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int getInferLibVersion(void) { return NVINFER; }
"""
CDLL = ctypes.CDLL


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Compile a driver and install it: ``install(fault, nvinfer)``."""
    compiler = shutil.which('cc') or shutil.which('gcc')
    if not compiler:
        pytest.skip('no C compiler')

    def build(fault=0, nvinfer=100300):
        source, library = tmp_path / 'fake.c', tmp_path / 'fake.so'
        source.write_text(SOURCE)
        facts = (f'-DFAULT={fault}', f'-DNVINFER={nvinfer}')
        subprocess.run([compiler, '-shared', '-fPIC', *facts, '-o', library, source], check=True)
        monkeypatch.setattr(gpu.ctypes, 'CDLL', lambda name: CDLL(str(library)))

    return build


def test_facts_come_from_the_driver(install, monkeypatch, tmp_path):
    install()
    (tmp_path / 'version').write_text('NVRM version: 580.65.06\nGCC version: 13\n')
    monkeypatch.setattr(gpu, 'DRIVER_FILES', (str(tmp_path / 'version'), '/nowhere'))
    assert gpu.properties() == {
        'gpu': 'Orin (nvgpu)',
        'capability': [8, 7],
        'driver': '12060; NVRM version: 580.65.06',
    }


def test_driver_without_a_gpu_is_an_error(install):
    install(fault=100)
    with pytest.raises(ConfigError, match='finds no GPU; check with nvidia-smi'):
        gpu.properties()


def test_missing_driver_is_an_error(monkeypatch):
    def missing(name):
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(gpu.ctypes, 'CDLL', missing)
    with pytest.raises(ConfigError, match='no NVIDIA driver'):
        gpu.require_driver()
    assert gpu.tensorrt_version() == ''


@pytest.mark.parametrize(
    ('number', 'version'), [(8601, '8.6.1'), (100300, '10.3.0'), (101609, '10.16.9')]
)
def test_version_of_tensorrt_is_read_from_its_library(install, number, version):
    install(nvinfer=number)
    assert gpu.tensorrt_version() == version
