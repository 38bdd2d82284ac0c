import pytest

from tdfusion_ros.core import errors


@pytest.mark.parametrize('kind', ['Config', 'Calibration', 'Model', 'Bag'])
def test_message_is_one_line_whatever_it_quotes(kind):
    error = getattr(errors, f'{kind}Error')('wrong:\n  line 1\n\tline 2\n')
    assert str(error) == 'wrong: line 1 line 2'
    assert isinstance(error, errors.FusionError)


def test_frame_error_carries_its_cause_beside_its_message():
    error = errors.FrameError('truncated', 'the image\nbreaks off')
    assert (error.cause, str(error)) == ('truncated', 'the image breaks off')
