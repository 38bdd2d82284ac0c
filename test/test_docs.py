"""The documents: what they link to and name must be there."""

from pathlib import Path
import re

import pytest

from tdfusion_ros.core.config import settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'QUALITY_DECLARATION.md']
PAGES += sorted((ROOT / 'docs').glob('*.md'))


def anchors(page):
    headings = re.findall(r'^#+ (.*)', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w -]', '', h.lower()).replace(' ', '-') for h in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r'\]\(([^)\s]+)\)', page.read_text())
    for link in links:
        if link.startswith('http'):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_grouped_parameter_that_is_named_exists(page):
    known = {name for name, _, _ in settings()} | {'rgb.picture', 'ir.picture'}  # values
    named = re.findall(r'`((?:sync|ir|rgb)\.[a-z_]+)', page.read_text())
    assert {name for name in named if not name.endswith(('.png', '.yaml'))} <= known


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_python_file_that_is_named_exists(page):
    files = [*ROOT.glob('*.py'), *ROOT.glob('[!.]*/**/*.py')]
    for name in re.findall(r'`([\w./*]+\.py)`', page.read_text()):
        assert any(file.match(name) for file in files), name


def test_website_and_readme_list_every_page():
    index = (ROOT / 'docs' / 'index.md').read_text()
    readme = (ROOT / 'README.md').read_text()
    pages = {page.stem for page in (ROOT / 'docs').glob('*.md')} - {'index'}
    assert pages <= set(re.findall(r'^\w+$', index, re.MULTILINE))
    linked = set(re.findall(r'docs/(\w+)\.md', readme))
    assert linked == pages - {'api', 'contributing'}
