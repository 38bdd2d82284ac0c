import pytest
import torch

from training.method.detection import assign
from training.method.detection import detection_loss
from training.method.detection import image_points
from training.method.detection import pair_iou
from training.method.detection import Truth


def truth_of(*boxes, class_ids=None):
    boxes = torch.tensor([boxes], dtype=torch.float32).reshape(1, -1, 4)
    class_ids = torch.tensor([class_ids or [0] * boxes.shape[1]])
    return Truth(boxes, class_ids, torch.ones(class_ids.shape, dtype=torch.bool))


def predictions(points, size=16.0, classes=3, score=0.1):
    boxes = torch.cat((points - size / 2, points + size / 2), -1)[None]
    return torch.full((1, len(points), classes), score), boxes


@pytest.fixture
def points():
    return image_points(64, 96, torch.device('cpu'))


def test_assigner_picks_points_inside_the_box_and_the_best_one_targets_its_iou(points):
    truth = truth_of((16, 16, 48, 40))
    targets = assign(*predictions(points), points, truth)
    chosen = points[targets.quality[0].sum(-1) > 0]
    assert len(chosen) > 0
    assert (chosen > torch.tensor([16, 16])).all()
    assert (chosen < torch.tensor([48, 40])).all()
    truth = truth_of((16, 16, 48, 40))
    scores, boxes = predictions(points)
    quality = assign(scores, boxes, points, truth).quality
    inside = ((points > torch.tensor([16, 16])) & (points < torch.tensor([48, 40]))).all(-1)
    best = pair_iou(boxes[0][inside], truth[0][0]).max()
    torch.testing.assert_close(quality.max(), best)


def test_a_point_belongs_to_the_object_it_overlaps_most_and_never_to_padding(points):
    small, large = (24, 24, 40, 40), (0, 0, 96, 64)
    targets = assign(*predictions(points), points, truth_of(large, small, class_ids=[0, 1]))
    middle = ((points - torch.tensor([28.0, 28.0])).abs().sum(-1) < 1).nonzero()[0, 0]
    assert targets.boxes_xyxy[0, middle].tolist() == list(small)
    assert targets.quality[0, middle, 0] == 0
    truth = truth_of((0, 0, 96, 64))
    targets = assign(*predictions(points), points, truth._replace(valid=~truth.valid))
    assert targets.quality.max() == 0


def gradient_of(points, truth):
    """Return the gradient of the loss for each logit, (A, C), where all scores are 0.5."""
    logits = torch.zeros(1, len(points), 3, requires_grad=True)
    detection_loss(predictions(points)[1], logits, points, truth)['loss'].backward()
    return logits.grad[0]


def test_scores_of_a_class_that_the_data_do_not_label_are_left_alone(points):
    truth = truth_of((16, 16, 48, 40), class_ids=[1])
    gradient = gradient_of(points, truth._replace(labeled=torch.tensor([[True, True, False]])))
    assert torch.equal(gradient[:, :2], gradient_of(points, truth)[:, :2])
    assert (gradient[:, 2] == 0).all()


def test_scores_in_a_region_to_ignore_are_left_alone_except_of_its_objects(points):
    truth = truth_of((16, 16, 48, 40), (0, 0, 64, 64), class_ids=[1, -1])
    truth = truth._replace(valid=truth.class_ids >= 0)
    alone = truth_of((16, 16, 48, 40), class_ids=[1])
    objects = assign(*predictions(points, score=0.5), points, alone).quality[0].sum(-1) > 0
    inside = (points < 64).all(-1)
    got, expected = gradient_of(points, truth), gradient_of(points, alone)
    assert (got[inside & ~objects] == 0).all()
    assert torch.equal(got[~inside | objects], expected[~inside | objects])
    assert objects.any()


def test_perfect_boxes_have_no_loss_and_worse_ones_have_more(points):
    truth = truth_of((16, 16, 48, 40))
    perfect = truth[0].expand(1, len(points), 4).clone()
    logits = torch.zeros(1, len(points), 3)
    costs = [detection_loss(perfect + shift, logits, points, truth)['borders'] for shift in (0, 4)]
    assert costs[0] < 1e-5
    assert costs[1] > 0.1


def test_iou_agrees_with_pycocotools_and_its_general_form_ranks_boxes_apart():
    mask = pytest.importorskip('pycocotools.mask')
    torch.manual_seed(0)
    corners = torch.rand(20, 2, 2).sort(1).values * 100
    boxes = corners.reshape(20, 4)
    xywh = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).double().numpy()
    expected = torch.from_numpy(mask.iou(xywh, xywh, [0] * 20)).float()
    torch.testing.assert_close(pair_iou(boxes[:, None], boxes[None]), expected)
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    near, far = box + 20, box + 50
    assert pair_iou(box, near) == pair_iou(box, far) == 0
    assert pair_iou(box, near, True) > pair_iou(box, far, True) > -1
