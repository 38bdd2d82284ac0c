"""TensorRT's network of layers, computed while it is put together; and its builder."""

import math

import torch

from tensorrt import layers
from tensorrt.layers import ITensor
from tensorrt.layers import Layer
from tensorrt.layers import TYPES
from tensorrt.layers import UNARY


class Network:
    """``INetworkDefinition``, as far as our networks need it."""

    def __init__(self, flags):
        self.strong = bool(flags)
        self.inputs, self.outputs = [], []
        self.layers = []

    def get_flag(self, flag):
        return self.strong

    def _layer(self, compute, *inputs, **attributes):
        self.layers.append(Layer(compute, *inputs, **attributes))
        return self.layers[-1]

    def add_input(self, name, shape, dtype):
        seed = torch.Generator().manual_seed(len(self.inputs))
        value = torch.rand(tuple(shape), generator=seed).to(TYPES[dtype.name])
        if name == 'rgb':
            value = (256 * value).floor()
        self.inputs.append(ITensor(value, name))
        return self.inputs[-1]

    def mark_output(self, tensor):
        self.outputs.append(tensor)

    def add_constant(self, shape, weights):
        value = layers.constant(weights).reshape(tuple(shape))
        return self._layer(lambda layer, x: value)

    def add_convolution_nd(self, **given):
        steps = {'stride_nd': (1, 1), 'padding_nd': (0, 0), 'dilation_nd': (1, 1)}
        return self._layer(layers.convolution, given.pop('input'), num_groups=1, **steps, **given)

    def add_pooling_nd(self, **given):
        usual = {'padding_nd': (0, 0), 'average_count_excludes_padding': True}
        return self._layer(
            layers.pooling,
            given['input'],
            kind=given['type'],
            window=given['window_size'],
            **usual,
        )

    def add_elementwise(self, first, second, op):
        return self._layer(layers.elementwise, first, second, op=op)

    def add_activation(self, tensor, kind):
        return self._layer(layers.activation, tensor, kind=kind, alpha=0.0, beta=0.0)

    def add_unary(self, tensor, op):
        return self._layer(lambda layer, x: UNARY[op.name](x), tensor)

    def add_shuffle(self, tensor):
        return self._layer(
            layers.shuffle, tensor, reshape_dims=None, first_transpose=None, second_transpose=None
        )

    def add_slice(self, tensor, start, shape, stride):
        return self._layer(
            layers.slicing, tensor, start=start, size=shape, stride=stride, mode=None
        )

    def add_concatenation(self, inputs):
        return self._layer(layers.concatenation, *inputs, axis=0)

    def add_cast(self, tensor, kind):
        return self._layer(lambda layer, x: x.to(TYPES[kind.name]), tensor)

    def add_unsqueeze(self, tensor, axes):
        return self._layer(layers.unsqueeze, tensor, axes)

    def add_squeeze(self, tensor, axes):
        return self._layer(layers.squeeze, tensor, axes)

    def add_shape(self, tensor):
        return self._layer(lambda layer, x: torch.tensor(x.shape), tensor)

    def add_select(self, condition, first, second):
        return self._layer(layers.select, condition, first, second)

    def add_resize(self, tensor):
        return self._layer(
            layers.resize, tensor, scales=(), resize_mode=None, coordinate_transformation=None
        )

    def add_reduce(self, tensor, op, axes, keep_dims):
        return self._layer(layers.reduce, tensor, op=op, axes=axes, keep_dims=keep_dims)

    def add_softmax(self, tensor):
        return self._layer(lambda layer, x: x.softmax(int(math.log2(layer.axes))), tensor, axes=1)

    def add_matrix_multiply(self, first, op0, second, op1):
        return self._layer(layers.matrix_multiply, first, second, op0=op0, op1=op1)

    def add_gather(self, tensor, indices, axis):
        return self._layer(layers.gather, tensor, indices, axis=axis)


class BuilderConfig:
    """Takes every setting."""

    def __getattr__(self, name):
        return lambda *arguments: self

    def serialize(self):
        return b''


class Engine:
    """What is built of a network: nothing but the fact."""

    def serialize(self):
        return memoryview(b'plan')

    def get_aliased_input_tensor(self, name):  # asked since TensorRT 11.1
        return None


class Builder:
    """Keeps the network it was last asked for."""

    last = None

    def __init__(self, logger=None):
        pass

    def create_network(self, flags):
        Builder.last = Network(flags)
        return Builder.last

    def create_builder_config(self):
        return BuilderConfig()

    def build_engine_with_config(self, network, config):  # since Torch-TensorRT 2.10
        return Engine()

    def build_serialized_network(self, network, config):
        return Engine().serialize()
