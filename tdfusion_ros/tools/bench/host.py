"""Describe the machine that was measured on and the resources of a process (Linux, /proc)."""

from datetime import datetime
from datetime import timezone
from importlib import metadata
import os
from pathlib import Path
import platform
from typing import Any

import cv2
import numpy as np

BUSY = 0.25  # load per core by other work from which times are not reliable


def environment() -> dict[str, Any]:
    """Return what is needed to compare a value between days and machines."""
    try:
        version = metadata.version('tdfusion_ros')
    except metadata.PackageNotFoundError:
        version = 'not installed'
    return {
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'cpu': cpu_name(),
        'cores': os.cpu_count(),
        'cores_usable': len(os.sched_getaffinity(0)),
        'load_1_min': round(os.getloadavg()[0], 2),  # of other work: read it before measuring
        'system': platform.platform(),
        'tdfusion_ros': version,
        'python': platform.python_version(),
        'numpy': np.__version__,
        'opencv': cv2.__version__,
    }


def describe_environment(facts: dict[str, Any]) -> str:
    """Return one line about the machine and the load that it had."""
    busy = facts['load_1_min'] > BUSY * facts['cores_usable']
    return (
        f'{facts["cpu"]}, {facts["cores_usable"]} of {facts["cores"]} cores, load '
        f'{facts["load_1_min"]} before{" (BUSY: times are too long)" if busy else ""}; Python '
        f'{facts["python"]}, numpy {facts["numpy"]}, OpenCV {facts["opencv"]}; {facts["date"]}'
    )


def cpu_name() -> str:
    """Return the model of the processor, or of the board if only that has a name (Arm)."""
    cpuinfo, board = Path('/proc/cpuinfo'), Path('/proc/device-tree/model')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding='utf-8', errors='replace').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    if board.is_file():
        return board.read_text(encoding='utf-8', errors='replace').strip('\0\n')
    return platform.machine()


def process_usage(pid: int | None = None) -> dict[str, float]:
    """Return threads, memory and peak memory (VmHWM) [MiB] of a process, default: this one."""
    text = Path('/proc', 'self' if pid is None else str(pid), 'status').read_text('ascii')
    values = {name: rest.split() for name, _, rest in (s.partition(':') for s in text.split('\n'))}
    memory, peak = (round(int(values[name][0]) / 1024, 1) for name in ('VmRSS', 'VmHWM'))
    return {'threads': int(values['Threads'][0]), 'memory_mib': memory, 'peak_mib': peak}
