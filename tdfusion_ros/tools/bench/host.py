"""What a figure was measured on, and what this process takes of it; Linux, as /proc tells it."""

from datetime import datetime
from datetime import timezone
from importlib import metadata
import os
from pathlib import Path
import platform
from typing import Any

import cv2
import numpy as np


def environment() -> dict[str, Any]:
    """Return what is needed to compare a figure with one of another day or machine."""
    return {
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'cpu': cpu_name(),
        'cores': os.cpu_count(),
        'cores_usable': len(os.sched_getaffinity(0)),
        'load_1_min': round(os.getloadavg()[0], 2),  # of whatever else runs here
        'system': platform.platform(),
        'tdfusion_ros': _version('tdfusion_ros'),
        'python': platform.python_version(),
        'numpy': np.__version__,
        'opencv': cv2.__version__,
    }


def cpu_name() -> str:
    """Return the model of the processor, or of the board where only that has a name (Arm)."""
    for path, key in (('/proc/cpuinfo', 'model name'), ('/proc/device-tree/model', '')):
        try:
            text = Path(path).read_text(encoding='utf-8', errors='replace')
        except OSError:
            continue
        if not key:
            return text.strip('\0\n')
        names = [line.partition(':')[2].strip() for line in text.splitlines() if key in line]
        if names:
            return names[0]
    return platform.machine()


def process(pid: int | None = None) -> dict[str, float]:
    """
    Return threads, memory and peak of the memory of a process, of this one by default [MiB].

    The peak is VmHWM: ``getrusage`` would also count the process that this one was started by.
    """
    path = Path('/proc', 'self' if pid is None else str(pid), 'status')
    lines = path.read_text(encoding='ascii').splitlines()
    found = {name: rest.split() for name, _, rest in (line.partition(':') for line in lines)}
    return {
        'threads': int(found['Threads'][0]),
        'memory_mib': round(int(found['VmRSS'][0]) / 1024, 1),
        'peak_mib': round(int(found['VmHWM'][0]) / 1024, 1),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return 'not installed'
