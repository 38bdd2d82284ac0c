"""Settings like others with some changed, also the task."""

from dataclasses import asdict

from training.config import recorded_settings
from training.config_reader import config_from_mapping


def variant(config, **changes):
    """Return the settings that apply to the task that results."""
    return config_from_mapping(recorded_settings({'source': 'ir', **asdict(config), **changes}))
