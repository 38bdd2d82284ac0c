"""
Several GPUs or machines: each process takes its rows of a batch; means are over all processes.

    python -m torch.distributed.run --nproc_per_node 4 -m training.train config/train/...yaml

torchrun starts the processes; in a single process nothing here has an effect. Gradients are
averaged explicitly, not by DistributedDataParallel, because a meta step takes gradients without
``backward``. They equal the gradients of one process with the whole batch, except for BatchNorm on
the CPU, where SyncBatchNorm does not exist: each process normalizes by its own rows, and only the
running statistics are averaged.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
import os
from typing import TypeVar

import torch
from torch import distributed
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError

T = TypeVar('T')

# A ContextVar, not a plain flag: threads that prepare batches must not see it.
_ALONE = ContextVar('alone', default=False)


def choose_device(wanted: str) -> torch.device:
    """Return the device of this process, with several GPUs the one of its rank; ConfigError."""
    available = torch.cuda.is_available()
    if wanted == 'cuda' and not available:
        raise ConfigError('device=cuda: torch finds no GPU; set device=cpu, or install CUDA')
    if wanted == 'cpu' or not available:
        return torch.device('cpu')
    return torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))


def start(device: torch.device) -> None:
    """Join the other processes, if torchrun started several."""
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not distributed.is_initialized():
        if device.type == 'cuda':
            torch.cuda.set_device(device)
        distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')


def finish() -> None:
    """Wait for the other processes and leave them."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, 0 to ``world_size() - 1``."""
    return distributed.get_rank() if distributed.is_initialized() and not _ALONE.get() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() and not _ALONE.get() else 1


def is_main() -> bool:
    """Return whether this is the process that writes."""
    return rank() == 0


@contextmanager
def alone() -> Iterator[None]:
    """Count only this process for a while, as in a validation of different images."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def share(items: Sequence[T]) -> Sequence[T]:
    """Return the items of this process: every n-th."""
    return items[rank() :: world_size()]


def average(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean of each tensor over all processes, the same to the bit in each of them."""
    if world_size() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def gather_rows(rows: Tensor) -> Tensor:
    """
    Return the rows of all processes, which have as many each.

    The mean of the gradients of a loss of all rows is then the gradient in one process.
    """
    if world_size() == 1:
        return rows
    own = rows.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(parts, own)
    parts[rank()] = own + (rows - own) * world_size()  # the gradient of the other rows is theirs
    return torch.cat(parts)


def gather(values: list[T]) -> list[T]:
    """Return the values of all processes, in the order of the ranks."""
    if world_size() == 1:
        return values
    lists: list[list[T]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(lists, values)
    return [value for part in lists for value in part]


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Average the gradients of a network, and the buffers that its forward pass changed."""
    if world_size() == 1:
        return
    tensors = [p.grad for p in network.parameters() if p.grad is not None]
    tensors += [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    for tensor, mean in zip(tensors, average(tensors), strict=True):
        tensor.copy_(mean)


def synchronize_norms(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Replace BatchNorm by one over the rows of all processes, in place; only on GPUs."""
    if world_size() > 1 and device.type == 'cuda':
        for network in networks.values():
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
