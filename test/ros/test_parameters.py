"""How the node refuses parameters, models and calibrations that it cannot use."""

import importlib.util

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LEVELS = ('[WARN]', '[ERROR]', '[FATAL]')
BAD = {
    'misspelled': ({'sync.max_skew': 5.0}, "did you mean 'sync.max_skew_ms'"),
    'out of range': ({'score_threshold': 1.5}, 'score_threshold must be between 0 and 1, got 1.5'),
    'integer out of range': ({'max_detections': 0}, 'max_detections must be between 1 and 10000'),
    'wrong type': ({'sync.queue_size': 'many'}, 'sync.queue_size must be of type int'),
    'unknown class': ({'class_filter': '[person, horse]'}, 'class_filter has horse'),
    'missing model': ({'model': 'no_such_model'}, "model 'no_such_model' is neither"),
    'missing calibration': ({'calibration': '/no/such.yaml'}, 'cannot be read'),
}


@pytest.fixture
def configure_error(make_node, capfd):
    """Return a function that configures a node, which must fail with exactly one error line."""

    def configure(parameters):
        assert make_node(parameters).trigger_configure() == FAILURE
        (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith(LEVELS)]
        assert 'cannot start: ' in line
        return line

    return configure


def test_a_bad_parameter_ends_the_process_with_status_1_and_one_error_line(stage):
    node = stage.start_node({'sync.max_skew': 5.0})
    assert node.status() == 1
    (line,) = [text for text in node.log().splitlines() if text not in node.lines('INFO')]
    assert line.startswith('[ERROR]')
    assert "cannot start: parameter: unknown setting 'sync.max_skew'" in line


def test_an_argument_that_ros_cannot_parse_ends_the_process_with_status_1(stage):
    node = stage.start_node({'sync': ''})
    assert node.status() == 1
    assert "cannot start: failed to initialize rcl: Couldn't parse" in node.log()
    assert 'Traceback' not in node.log()


@pytest.mark.parametrize('fault', BAD)
def test_a_bad_parameter_is_refused_with_one_error(configure_error, fault):
    parameters, reason = BAD[fault]
    assert reason in configure_error(parameters)


@pytest.mark.skipif(
    importlib.util.find_spec('message_filters') is not None, reason='message_filters is installed'
)
def test_approximate_pairing_is_refused_without_message_filters(configure_error):
    assert 'message_filters' in configure_error({'sync.policy': 'approximate'})


def test_node_pairs_by_message_filters_where_they_are_installed(stage):
    pytest.importorskip('message_filters')
    stage.run({'sync.policy': 'approximate'})


@pytest.mark.parametrize(
    ('name', 'bad', 'good'),
    [
        ('model', 'no_such_model', 'msrs_rt'),
        ('score_threshold', 1.5, 0.4),
        ('sync.queue_size', 'many', 5),
        ('scor_threshold', 0.4, None),  # misspelled: delete it
    ],
)
def test_after_a_parameter_is_corrected_the_node_can_be_configured(
    make_node, capfd, name, bad, good
):
    node = make_node({name: bad})
    for _ in range(2):
        assert node.trigger_configure() == FAILURE
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith(LEVELS)]
    assert len(errors) == 2
    assert all(name in line for line in errors)
    if good is None:
        assert f'delete the parameter {name}' in errors[0]
    (result,) = node.set_parameters([Parameter(name, value=good)])
    assert result.successful
    assert node.trigger_configure() == SUCCESS
