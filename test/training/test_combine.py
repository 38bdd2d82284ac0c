import pytest
import torch

from training.method.combine import COMBINE
from training.method.combine import combined


@pytest.mark.parametrize(
    ('how', 'gradients', 'expected'),
    [
        # <a, b> = -1: a + b / 2 = (1/2, 1/2), and b + a = (0, 1).
        ('pcgrad', [[1.0, 0.0], [-1.0, 1.0]], [0.5, 1.5]),
        ('pcgrad', [[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]], [1.5, 2.0]),  # they agree: the sum
        ('pcgrad', [[0.0, 0.0], [3.0, 4.0]], [3.0, 4.0]),
        ('normalized', [[0.0, 0.0], [3.0, 4.0]], [0.6, 0.8]),
        ('normalized', [[3e-6, 4e-6], [-400.0, 300.0]], [-0.2, 1.4]),
        ('sum', [[1.0, 2.0], [-3.0, 1.0]], [-2.0, 3.0]),
    ],
)
def test_gradients_are_combined_as_computed_by_hand(how, gradients, expected):
    torch.testing.assert_close(COMBINE[how](torch.tensor(gradients)), torch.tensor(expected))


@pytest.mark.parametrize('how', COMBINE)
def test_tensors_keep_their_shapes_and_a_single_task_its_gradient(how):
    gradient = [torch.rand(2, 3), torch.rand(4)]
    assert all(x is y for x, y in zip(combined([gradient], how), gradient, strict=True))
    assert [g.shape for g in combined([gradient, gradient], how)] == [(2, 3), (4,)]
