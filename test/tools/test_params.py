from pathlib import Path

from tdfusion_ros.cli import parser
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.parameter_reference import parameter_table
from tdfusion_ros.tools.parameter_reference import parameter_yaml

ROOT = Path(__file__).resolve().parents[2]


def test_shipped_parameter_file_is_what_the_config_says():
    assert (ROOT / 'config' / 'fusion.yaml').read_text() == parameter_yaml()


def test_shipped_parameter_file_holds_the_defaults():
    file = str(ROOT / 'config' / 'fusion.yaml')
    options = parser().parse_args(['bench', 'bag', '--config', file])
    assert config_of(options) == FusionConfig()


def test_readme_lists_every_parameter_as_the_config_says():
    assert parameter_table() in (ROOT / 'docs' / 'parameters.md').read_text()
