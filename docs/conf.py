"""Settings of the documentation website: ``make docs``, and rosdoc2 for docs.ros.org."""

from importlib.util import find_spec
from pathlib import Path
import sys
import xml.etree.ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()

project = MANIFEST.findtext('name')
author = MANIFEST.findtext('maintainer')
version = release = MANIFEST.findtext('version')

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode']
myst_heading_anchors = 3  # links such as interface.md#pairing
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
# What a machine that builds pages need not have.
autodoc_mock_imports = ['cv2', 'onnxruntime', 'rclpy', 'torch']

html_theme = 'furo' if find_spec('furo') else 'sphinx_rtd_theme'  # docs.ros.org has the latter
html_title = f'{project} {version}'
