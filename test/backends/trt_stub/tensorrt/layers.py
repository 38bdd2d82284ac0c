"""
TensorRT's layers, computed with torch.

As strict about types as a strongly typed network: nothing is cast unless a layer says so.
"""

import ctypes

import numpy as np
import torch
from torch.nn import functional

import tensorrt

TYPES = {
    'FLOAT': torch.float32,
    'HALF': torch.float16,
    'INT32': torch.int32,
    'INT64': torch.int64,
    'BOOL': torch.bool,
}
NAMES = {kind: name for name, kind in TYPES.items()}


def require(holds, *what):
    """Refuse what TensorRT would."""
    if not holds:
        raise TypeError(' '.join(map(str, what)))


class Dims(tuple):
    """A shape."""


class ITensor:
    """A tensor of the network, with a value."""

    def __init__(self, value, name=''):
        require(value.dtype in NAMES, 'no such type', value.dtype)
        self.value = value
        self.name = name

    @property
    def shape(self):
        return Dims(self.value.shape)

    @property
    def dtype(self):
        return getattr(tensorrt.DataType, NAMES[self.value.dtype])

    @dtype.setter
    def dtype(self, kind):
        require(TYPES[kind.name] == self.value.dtype, self.name, 'is no', kind)


class Weights:
    """Constants at an address, which must outlive the building."""

    def __init__(self, kind=None, address=0, count=0):
        self.value = torch.zeros(0)
        if count:
            size = torch.empty(0, dtype=TYPES[kind.name]).element_size() * count
            raw = ctypes.string_at(address, size)
            self.value = torch.frombuffer(bytearray(raw), dtype=TYPES[kind.name])


def constant(weights):
    """Return the values of weights, or of an array."""
    if isinstance(weights, np.ndarray):
        return torch.from_numpy(weights.copy())
    return weights.value if isinstance(weights, Weights) else torch.zeros(0)


class Layer:
    """A layer: computes when its output is asked for, with the attributes that it has then."""

    def __init__(self, compute, *inputs, **attributes):
        self._compute = compute
        self._inputs = dict(enumerate(inputs))
        self._output = None
        self.name = self.metadata = ''
        self.type = tensorrt.LayerType.played
        vars(self).update(attributes)

    def set_input(self, index, tensor):
        self._inputs[index] = tensor

    def given(self, index):
        """Return the value of an input that may be set or not."""
        tensor = self._inputs.get(index)
        return None if tensor is None else tensor.value

    def get_output(self, index):
        assert index == 0
        if self._output is None:
            self._output = ITensor(self._compute(self, self.given(0)).contiguous(), self.name)
        return self._output


def convolution(layer, x):
    kernel, bias = constant(layer.kernel), constant(layer.bias)
    kernel = kernel if layer.given(1) is None else layer.given(1)
    bias = bias if layer.given(2) is None else layer.given(2)
    require(kernel.dtype == x.dtype, 'convolution of', x.dtype, 'by', kernel.dtype)
    channels = x.shape[1] // layer.num_groups
    kernel = kernel.reshape(layer.num_output_maps, channels, *layer.kernel_shape)
    if not bias.numel():
        bias = None
    require(bias is None or bias.dtype == x.dtype, 'bias', bias)
    return functional.conv2d(
        x, kernel, bias, layer.stride_nd, layer.padding_nd, layer.dilation_nd, layer.num_groups
    )


ELEMENTWISE = {
    'SUM': torch.add,
    'SUB': torch.sub,
    'PROD': torch.mul,
    'DIV': lambda a, b: (
        torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode='trunc')
    ),
    'FLOOR_DIV': torch.floor_divide,
    'MAX': torch.maximum,
    'MIN': torch.minimum,
    'POW': torch.pow,
    'GREATER': torch.gt,
    'LESS': torch.lt,
    'EQUAL': torch.eq,
    'AND': torch.logical_and,
    'OR': torch.logical_or,
}


def elementwise(layer, a):
    b = layer.given(1)
    require(a.dtype == b.dtype, layer.op.name, 'of', a.dtype, 'and', b.dtype)
    require(a.dim() == b.dim(), layer.op.name, 'of', tuple(a.shape), 'and', tuple(b.shape))
    return ELEMENTWISE[layer.op.name](a, b)


ACTIVATION = {
    'RELU': lambda x, a, b: x.relu(),
    'SIGMOID': lambda x, a, b: x.sigmoid(),
    'TANH': lambda x, a, b: x.tanh(),
    'LEAKY_RELU': lambda x, a, b: functional.leaky_relu(x, a),
    'CLIP': lambda x, a, b: x.clamp(a, b),
    'SOFTPLUS': lambda x, a, b: a * torch.log1p(torch.exp(-(b * x).abs())) + a * (b * x).relu(),
    'GELU_ERF': lambda x, a, b: functional.gelu(x),
}


def activation(layer, x):
    require(x.is_floating_point(), 'activation of', x.dtype)
    return ACTIVATION[layer.kind.name](x, layer.alpha, layer.beta)


UNARY = {
    'ABS': torch.abs,
    'EXP': torch.exp,
    'SQRT': torch.sqrt,
    'RECIP': torch.reciprocal,
    'NEG': torch.neg,
    'ERF': torch.erf,
    'NOT': torch.logical_not,
    'ROUND': torch.round,
    'LOG': torch.log,
}


def shuffle(layer, x):
    if layer.first_transpose is not None:
        x = x.permute(*layer.first_transpose)
    shape = layer.reshape_dims if layer.given(1) is None else layer.given(1).tolist()
    if shape is not None:
        x = x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])
    if layer.second_transpose is not None:
        x = x.permute(*layer.second_transpose)
    return x


def slicing(layer, x):
    start, shape, stride = (
        list(fixed) if layer.given(i) is None else layer.given(i).tolist()
        for i, fixed in ((1, layer.start), (2, layer.size), (3, layer.stride))
    )
    mode = layer.mode.name if layer.mode is not None else 'STRICT_BOUNDS'
    for axis, (first, count, step) in enumerate(zip(start, shape, stride, strict=True)):
        index = first + step * torch.arange(count)
        if mode == 'CLAMP':
            index = index.clamp(0, x.shape[axis] - 1)
        inside = bool(((index >= 0) & (index < x.shape[axis])).all())
        require(inside, 'slice', mode, start, shape, stride, 'of', tuple(x.shape))
        x = x.index_select(axis, index)
    return x


def concatenation(layer, x):
    values = [layer.given(i) for i in sorted(layer._inputs)]
    require(len({v.dtype for v in values}) == 1, 'concatenation of', [v.dtype for v in values])
    return torch.cat(values, layer.axis)


def unsqueeze(layer, x):
    for axis in sorted(layer.given(1).reshape(-1).tolist()):
        x = x.unsqueeze(axis)
    return x


def squeeze(layer, x):
    for axis in sorted(layer.given(1).reshape(-1).tolist(), reverse=True):
        require(x.shape[axis] == 1, 'squeeze of', tuple(x.shape))
        x = x.squeeze(axis)
    return x


def select(layer, condition):
    a, b = layer.given(1), layer.given(2)
    require(condition.dtype == torch.bool and a.dtype == b.dtype, 'select', a.dtype, b.dtype)
    require(a.dim() == b.dim() == condition.dim(), 'select of ranks')
    return torch.where(condition, a, b)


def pooling(layer, x):
    require(layer.kind.name == 'AVERAGE', layer.kind)
    return functional.avg_pool2d(
        x,
        tuple(layer.window),
        layer.stride_nd,
        layer.padding_nd,
        count_include_pad=not layer.average_count_excludes_padding,
    )


def resize(layer, x):
    mode, grid = layer.resize_mode.name, layer.coordinate_transformation.name
    scales = tuple(layer.scales)[2:]
    if mode == 'NEAREST':
        require(grid == 'ASYMMETRIC', grid)
        return functional.interpolate(x, scale_factor=scales, mode='nearest')
    require(mode == 'LINEAR' and grid == 'HALF_PIXEL', mode, grid)
    return functional.interpolate(x, scale_factor=scales, mode='bilinear')


def axes_of(mask):
    return [axis for axis in range(8) if mask >> axis & 1]


def reduce(layer, x):
    op = {'AVG': torch.mean, 'SUM': torch.sum}[layer.op.name]
    return op(x, axes_of(layer.axes), layer.keep_dims)


def matrix_multiply(layer, a):
    b = layer.given(1)
    require(a.dtype == b.dtype, 'product of', a.dtype, 'and', b.dtype)
    a, b = (
        v.transpose(-1, -2) if op.name == 'TRANSPOSE' else v
        for v, op in ((a, layer.op0), (b, layer.op1))
    )
    return a @ b


def gather(layer, x):
    index = layer.given(1)
    require(index.dtype in (torch.int32, torch.int64), 'gather by', index.dtype)
    shape = (*x.shape[: layer.axis], *index.shape, *x.shape[layer.axis + 1 :])
    return x.index_select(layer.axis, index.reshape(-1).long()).reshape(shape)
