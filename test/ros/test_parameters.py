"""How the node refuses parameters, models and calibrations that it cannot use."""

import importlib.util

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rig.stage import run_module

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LEVELS = ('[WARN]', '[ERROR]', '[FATAL]')
WITHOUT_FILTERS = pytest.mark.skipif(
    importlib.util.find_spec('message_filters') is not None, reason='message_filters is installed'
)


def test_a_bad_parameter_ends_the_process_with_status_1_and_one_error_line(stage):
    node = stage.start_node({'sync.max_skew': 5.0})
    assert node.status() == 1
    (line,) = [text for text in node.log().splitlines() if text not in node.lines('INFO')]
    assert line.startswith('[ERROR]')
    assert "cannot start: parameter: unknown setting 'sync.max_skew'" in line


def test_a_folder_of_logs_that_cannot_be_made_is_named_with_the_remedy(
    stage, tmp_path, monkeypatch
):
    (tmp_path / 'file').touch()  # a read-only root, or no home
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'file' / 'log'))
    node = stage.start_node()
    doctor = run_module('tdfusion_ros.cli', 'doctor', '--seconds', 1)
    assert (node.status(), doctor.returncode) == (1, 1)
    for text in (node.log(), doctor.stderr):
        assert 'Failed to create log directory' in text
        assert 'set ROS_LOG_DIR to a folder that you may write' in text


def test_an_argument_that_ros_cannot_parse_ends_the_process_with_status_1(stage):
    node = stage.start_node({'sync': ''})
    assert node.status() == 1
    assert "cannot start: failed to initialize rcl: Couldn't parse" in node.log()
    assert 'Traceback' not in node.log()


def test_node_pairs_by_message_filters_where_they_are_installed(stage):
    pytest.importorskip('message_filters')
    stage.run({'sync.policy': 'approximate'})


@pytest.mark.parametrize(
    ('name', 'bad', 'good', 'reason'),
    [
        ('model', 'no_such_model', 'msrs_rt', "model 'no_such_model' is neither"),
        ('score_threshold', 1.5, 0.4, 'score_threshold must be between 0 and 1, got 1.5'),
        ('sync.queue_size', 'many', 5, 'sync.queue_size must be of type int'),
        ('scor_threshold', 0.4, None, 'delete the parameter scor_threshold'),
        ('class_filter', '[person, horse]', ['person'], 'class_filter has horse'),
        ('calibration', '/no/such.yaml', '', 'cannot be read'),
        pytest.param(
            *('sync.policy', 'approximate', 'nearest', 'message_filters'), marks=WITHOUT_FILTERS
        ),
    ],
)
def test_a_bad_parameter_is_refused_with_one_error_until_it_is_corrected(
    make_node, capfd, name, bad, good, reason
):
    node = make_node({name: bad})
    for _ in range(2):
        assert node.trigger_configure() == FAILURE
        (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith(LEVELS)]
        assert 'cannot start: ' in line
        assert reason in line
    (result,) = node.set_parameters([Parameter(name, value=good)])
    assert result.successful
    assert node.trigger_configure() == SUCCESS
