"""Properties of the GPU from NVIDIA's driver itself, without torch or TensorRT."""

import ctypes
from pathlib import Path
from typing import Any

from tdfusion_ros.core.errors import ConfigError

DRIVER_FILES = ('/proc/driver/nvidia/version', '/etc/nv_tegra_release')  # desktop; Jetson
CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


def require_driver() -> Any:
    """Return the driver's library; ConfigError if ``libcuda.so.1`` cannot be loaded."""
    try:
        return ctypes.CDLL('libcuda.so.1')
    except OSError:
        raise ConfigError('there is no NVIDIA driver (libcuda.so.1 cannot be loaded)') from None


def properties() -> dict[str, Any]:
    """Return what an engine depends on: name, capability and driver; ConfigError without GPU."""
    cuda = require_driver()
    device, number = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        raise ConfigError('the NVIDIA driver finds no GPU; check with nvidia-smi')
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    capability = []
    for attribute in CAPABILITY:
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    cuda.cuDriverGetVersion(ctypes.byref(number))
    driver = [str(number.value)]
    for path in map(Path, DRIVER_FILES):
        if path.is_file():
            driver.append(path.read_text(encoding='utf-8', errors='replace').partition('\n')[0])
    return {
        'gpu': name.value.decode(errors='replace'),
        'capability': capability,
        'driver': '; '.join(driver),
    }


def tensorrt_version() -> str:
    """Return the version of the TensorRT library that ONNX Runtime finds; empty if unknown."""
    for major in (11, 10, 8):
        try:
            number = int(ctypes.CDLL(f'libnvinfer.so.{major}').getInferLibVersion())
        except (OSError, AttributeError):
            continue
        unit = 10_000 if number >= 100_000 else 1000  # 10_000 since TensorRT 10
        return f'{number // unit}.{number % unit // 100}.{number % 100}'
    return ''
