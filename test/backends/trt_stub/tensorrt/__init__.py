"""
TensorRT's names without TensorRT, so that all of Torch-TensorRT runs but the building itself.

Tensors, layers and the network compute with torch (``layers.py``, ``network.py``). Every other
name with a capital is a class whose members and results are objects of the same kind; names in
lower case are missing, so that nobody takes this for tensorrt_rtx. ``__version__`` is the one to
play. Source of the idea: deploy.md, section 2.
"""

import importlib
import os
import sys

__version__ = os.environ.get('PLAYED_TENSORRT', '11.0.0.114')


def init_libnvinfer_plugins(logger, namespace):
    """Load no plug-ins."""


class Members(type):
    """A class that has every attribute."""

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        member = cls.__new__(cls)
        member.name = name
        setattr(cls, name, member)
        return member


class Played(metaclass=Members):
    """Whatever is asked of it, it is there."""

    name = ''

    def __init__(self, *arguments, **named):
        pass

    def __init_subclass__(cls, **named):
        super().__init_subclass__()

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Played()

    def __call__(self, *arguments, **named):
        return Played()

    def __int__(self):
        return 0

    __index__ = __int__

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return isinstance(other, Played) and self.name == other.name

    def __repr__(self):
        return f'tensorrt.{type(self).__name__}.{self.name}'


COMPUTED = {'Builder': 'network', 'Dims': 'layers', 'ITensor': 'layers', 'Weights': 'layers'}
TYPES = {
    'float32': 'FLOAT',
    'float16': 'HALF',
    'bfloat16': 'BF16',
    'int8': 'INT8',
    'int32': 'INT32',
    'int64': 'INT64',
    'uint8': 'UINT8',
    'bool': 'BOOL',
    'fp8': 'FP8',
    'int4': 'INT4',
    'fp4': 'FP4',
}


def __getattr__(name):
    if name == 'tensorrt':
        return sys.modules[__name__]
    if name in TYPES:
        return getattr(__getattr__('DataType'), TYPES[name])
    if not name[:1].isupper():
        raise AttributeError(name)
    if name in COMPUTED:
        return getattr(importlib.import_module(f'tensorrt.{COMPUTED[name]}'), name)
    made = Members(name, (Played,), {})
    globals()[name] = made
    return made
