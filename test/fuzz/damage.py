"""Hypothesis strategies that damage valid inputs: numbers, bytes, and trees of YAML or JSON."""

import copy
import json
import struct

from hypothesis import strategies as st
import yaml

MAX_BYTES = 1 << 18
TEXTS = (
    *('', ' ', 'nan', '1e999', '\x00', 'a\x00b', '\ud800', '\u202e', 'é' * 40, 'a' * 100_000),
    *('../../etc/passwd', '%s%n%x', '!!python/object/apply:os.system ["false"]', '9' * 5000),
    *('{' * 3000, '[' * 3000, '<script>', 'mono8', '/', '//', '~', '0b_'),
)


def aliases(first, item):
    """Return YAML whose aliases expand to a billion nodes."""
    items = (item.format(', '.join([f'*a{n - 1}'] * 9)) for n in range(1, 10))
    return '\n'.join([f'a0: &a0 {first}', *(f'a{n}: &a{n} {i}' for n, i in enumerate(items, 1))])


LISTS = aliases('[1, 2, 3]', '[{}]')
MERGES = aliases('{k: 1}', '{{<<: [{}]}}')
HOSTILE_YAML = (
    *(f'{LISTS}\nmode: homography\nhomography: *a9\n', f'{LISTS}\nrgb_xy: *a9\nir_xy: *a9\n'),
    *(f'{LISTS}\n/**:\n  ros__parameters:\n    model: *a9\n', f'{MERGES}\nmode: identity\n'),
    *('mode: &m [*m]\n', '&a a: *a\n', 'a: &a {<<: *a}', 'mode: !!timestamp 2001-99-99\n'),
    *('mode: !!python/object/apply:os.system ["false"]\n', 'mode: 2001-99-99\n', 'mode: 0b_\n'),
    *(f'mode: {"9" * 5000}\n', '[' * 5000, '{a: ' * 5000, '- ' * 5000),
)
ODD_YAML = ('? [a, b]\n: 1\n', '!!binary "?"\n', '!!set {a, b}\n', '--- a\n--- b\n', '\0')
ODD_YAML += ('%YAML 9.9\n---\na: b\n',)

floats = st.floats() | st.floats(-1e4, 1e4)
numbers = floats | st.integers() | st.sampled_from((0, 1, 2**32, 2**63, 2**64, 10**400))
nested = st.builds(lambda n: json.loads('[' * n + ']' * n), st.sampled_from((3, 40, 70, 900)))
other = st.sampled_from((None, True, [], {}, {'': None}, {'mode': []}, [0] * 3000))
anything = st.one_of(numbers, numbers, st.sampled_from(TEXTS), nested, other.map(copy.deepcopy))


def unsigned(bits):
    """Return numbers that fit an unsigned field, small ones as often as absurd ones."""
    return st.integers(0, 199) | st.integers(0, 2**bits - 1)


WORDS = st.builds(struct.pack, st.sampled_from(('<I', '>I', '<Q', '>Q')), unsigned(32))


@st.composite
def damaged(draw, *samples):
    """Return byte strings with one to four faults: parts deleted, replaced, inserted, moved."""
    data = bytearray(draw(st.sampled_from(samples)))
    limit = max(MAX_BYTES, 2 * len(data))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(63, len(data))) | st.integers(0, len(data)))  # often a header
        length = draw(st.sampled_from((0, 1, 1, 2, 4, 8, 40, MAX_BYTES)))
        part = st.slices(min(4000, len(data))).map(data.__getitem__)
        data[at : at + length] = draw(st.binary(max_size=100) | WORDS | part)
    return bytes(data[:limit])


@st.composite
def tree(draw, sample):
    """Return copies of a tree of dicts and lists with one to three wrong nodes."""
    root = [copy.deepcopy(sample)]
    for _ in range(draw(st.integers(1, 3))):
        parent, key = root, 0
        while isinstance(parent[key], (dict, list)) and parent[key] and draw(st.integers(0, 9)):
            parent = parent[key]
            keys = [*parent] if isinstance(parent, dict) else range(len(parent))
            key = draw(st.sampled_from(keys))
        kind = draw(st.integers(0, 9))
        if kind == 0 and parent is not root:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[draw(st.sampled_from(TEXTS))] = parent.pop(key)
        elif kind == 2:
            parent[key] = [parent[key], copy.deepcopy(parent[key])]
        else:
            parent[key] = draw(anything)
    return root[0]


def to_yaml(value):
    return yaml.dump(value, Dumper=getattr(yaml, 'CSafeDumper', yaml.SafeDumper), width=1 << 20)


def document(sample, dump=to_yaml):
    """Return the bytes of text files: damaged trees, damaged text, and hostile YAML."""

    def encode(value):
        try:
            return dump(value).encode('utf-8', 'surrogatepass')
        except (RecursionError, ValueError, yaml.YAMLError):  # it cannot be written
            return b''

    trees, texts = tree(sample).map(encode), damaged(dump(sample).encode())
    hostile = st.sampled_from((*HOSTILE_YAML, *ODD_YAML)).map(str.encode)
    return st.one_of(trees, trees, trees, texts, texts, hostile)
