import pytest
import torch

from training.method.combine import COMBINE
from training.method.combine import combined
from training.method.combine import normalized
from training.method.combine import pcgrad
from training.method.combine import total

pytestmark = pytest.mark.torch


def test_pcgrad_of_two_conflicting_gradients_is_as_computed_by_hand():
    # <a, b> = -1: a + b / 2 = (1/2, 1/2), and b + a = (0, 1).
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    torch.testing.assert_close(pcgrad(gradients), torch.tensor([0.5, 1.5]))


def test_pcgrad_opposes_no_task_where_the_sum_does():
    gradients = torch.tensor([[1.0, 0.0], [-3.0, 1.0]])
    assert (gradients @ total(gradients) < 0).any()
    assert (gradients @ pcgrad(gradients) >= 0).all()


def test_pcgrad_of_gradients_that_agree_is_their_sum():
    gradients = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(pcgrad(gradients), total(gradients))


def test_normalized_sum_does_not_depend_on_the_scale_of_a_task():
    gradients = torch.tensor([[1.0, 2.0], [-2.0, 1.0]])
    scaled = gradients * torch.tensor([[1e-6], [1e3]])
    torch.testing.assert_close(normalized(scaled), normalized(gradients))
    assert normalized(gradients).norm().item() == pytest.approx(2**0.5)


def test_a_task_without_gradient_changes_nothing():
    gradients = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(normalized(gradients), torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(pcgrad(gradients), gradients[1])


def test_tensors_keep_their_shapes_and_places():
    a, b = ([torch.rand(2, 3), torch.rand(4)] for _ in range(2))
    for ours, x, y in zip(combined([a, b], 'sum'), a, b, strict=True):
        torch.testing.assert_close(ours, x + y)


@pytest.mark.parametrize('how', COMBINE)
def test_the_gradient_of_a_single_task_stays_unchanged(how):
    gradient = [torch.rand(2, 3), torch.rand(4)]
    assert all(x is y for x, y in zip(combined([gradient], how), gradient, strict=True))
