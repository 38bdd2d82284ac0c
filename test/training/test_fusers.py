import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'onnxruntime', 'safetensors', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.core.errors import FusionError  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from training.checkpoint import save_run  # noqa: E402
from training.data.datasets import Sample  # noqa: E402
from training.measure import fusers  # noqa: E402

pytestmark = pytest.mark.torch
ODD_HW = (67, 91)


def unlabeled(rgb, ir):
    return Sample('a', rgb, ir, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


@pytest.fixture
def odd():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*ODD_HW, 3), dtype=np.uint8)
    return unlabeled(rgb, rng.integers(0, 256, ODD_HW, dtype=np.uint8))


def test_baselines_are_the_mean_and_the_brighter_of_both_sources():
    pixel = unlabeled(np.full((1, 1, 3), 250, np.uint8), np.full((1, 1), 254, np.uint8))
    assert fusers.average(pixel).tolist() == [[252]]
    assert fusers.maximum(pixel).tolist() == [[254]]


def test_a_run_fuses_a_pair_of_odd_size_like_its_even_part(odd, tmp_path):
    torch.manual_seed(0)
    network = FusionRT().eval()
    save_run(tmp_path, network, {})
    fused = fusers.run_fuser(str(tmp_path))(odd)
    assert fused.shape == ODD_HW
    assert fused.dtype == np.uint8
    weights = torch.tensor([0.299, 0.587, 0.114])
    luma = (torch.from_numpy(odd.rgb[:64, :64]).float() / 255 @ weights)[None, None]
    ir = torch.from_numpy(odd.ir[:64, :64]).float()[None, None] / 255
    with torch.inference_mode():
        even = network(luma, ir)[0, 0].numpy() * 255
    inner = slice(0, 40)  # farther from the border than the receptive field
    assert np.abs(fused[inner, inner] - even[inner, inner]).max() < 1


def test_a_bundle_fuses_a_pair_of_odd_size(odd):
    fused = fusers.bundle_fuser('msrs_rt')(odd)
    assert fused.shape == ODD_HW
    assert fused.dtype == np.uint8


def test_a_detector_cannot_fuse(tmp_path):
    save_run(tmp_path, Detector(), {})
    with pytest.raises(ModelError, match='Detector, not a fusion network'):
        fusers.run_fuser(str(tmp_path))


def test_pairs_of_two_folders_are_matched_by_stem(data_root):
    samples = fusers.open_folders(str(data_root / 'vi'), str(data_root / 'ir'))
    assert [sample.name for sample in samples] == ['a', 'b', 'c', 'empty']
    assert samples[0].rgb.shape == (96, 128, 3)
    assert samples[0].ir.shape == (96, 128)
    (data_root / 'ir' / 'b.png').unlink()
    with pytest.raises(FusionError, match="'b'"):
        fusers.open_folders(str(data_root / 'vi'), str(data_root / 'ir'))


def test_names_that_merely_end_in_d_say_nothing_about_daylight(data_root):
    for folder in ('vi', 'ir'):
        for path in (data_root / folder).iterdir():
            path.rename(path.with_stem(path.stem + 'D'))
    samples = fusers.open_folders(str(data_root / 'vi'), str(data_root / 'ir'))
    assert 'light' not in samples[0].strata


def test_pictures_give_the_fused_luma_the_colors_of_rgb(odd):
    assert fusers.side_by_side(odd, [fusers.maximum(odd)]).shape == (ODD_HW[0], 3 * ODD_HW[1], 3)
    pixel = unlabeled(np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 200, np.uint8))
    picture = fusers.side_by_side(pixel, [np.full((1, 1), 200, np.uint8)])
    assert picture.tolist() == [[[90] * 3, [200] * 3, [200] * 3]]
