"""Hypothesis strategies that damage valid inputs: numbers, bytes, and trees of YAML or JSON."""

import copy
from functools import cache
import json
import struct

from hypothesis import strategies as st
import yaml

MAX_BYTES = 1 << 18
INF, NAN = float('inf'), float('nan')
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 8192, 8193, 32767, 32768, 65535, 65536),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**400, -(10**400)),
    *(-0.0, 0.5, 1e-320, 1e-30, 1e30, 1e300, -1e300, NAN, INF, -INF),
)
TEXTS = (
    *('', ' ', 'nan', '1e999', '-inf', 'true', '\x00', 'a\x00b', '\ud800', '\u202e', 'é' * 40),
    *('a' * 100_000, '../../etc/passwd', '%s%n%x', '!!python/object/apply:os.system ["false"]'),
    *('{' * 3000, '[' * 3000, '<script>', 'mono8', '/', '//', '~', '9' * 5000, '0b_'),
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
ODD_YAML = (
    *('? [a, b]\n: 1\n', '!!binary "?"\n', '!!set {a, b}\n', '--- a\n--- b\n', '\0'),
    '%YAML 9.9\n---\na: b\n',
)


def to_float(number):
    """Return the float64 of a number, inf for too large ones."""
    try:
        return float(number)
    except OverflowError:
        return INF


numbers = st.sampled_from(NUMBERS) | st.floats(-1e4, 1e4) | st.integers(-(2**40), 2**40)
floats = numbers.map(to_float)
nested = st.builds(lambda n: json.loads('[' * n + ']' * n), st.sampled_from((3, 40, 70, 900)))
other = st.sampled_from((None, True, [], {}, {'': None}, {'mode': []}, [0] * 3000))
anything = st.one_of(numbers, numbers, st.sampled_from(TEXTS), nested, other.map(copy.deepcopy))


@cache
def unsigned(bits):
    """Return numbers that fit an unsigned field, small ones as often as absurd ones."""
    absurd = [n for n in NUMBERS if isinstance(n, int) and 0 <= n < 2**bits]
    return st.sampled_from(absurd) | st.integers(0, 199)


WORDS = st.builds(
    lambda form, number: struct.pack(form, number % 2 ** (8 * struct.calcsize(form))),
    st.sampled_from(('<H', '>H', '<I', '>I', '<Q', '>Q')),
    unsigned(32),
)
FAULTS = st.tuples(
    st.integers(0, 63) | st.integers(0, MAX_BYTES),  # headers decide more than what follows
    st.sampled_from((0, 1, 1, 2, 4, 8, 40, MAX_BYTES)),  # bytes that are replaced
    st.binary(max_size=1)
    | st.binary(max_size=100)
    | WORDS
    | st.tuples(*[st.integers(0, 4000)] * 2),
)


def damaged(*samples):
    """Return byte strings with one to four faults: parts deleted, replaced, inserted, moved."""

    def damage(data, other, faults):
        out = bytearray(data)
        for at, length, new in faults:
            at %= len(out) + 1
            if isinstance(new, tuple):
                new = other[new[0] % len(other) :][: new[1]]
            out[at : at + length] = new
        return bytes(out[: max(MAX_BYTES, 2 * len(data))])

    sample = st.sampled_from(samples)
    return st.builds(damage, sample, sample, st.lists(FAULTS, min_size=1, max_size=4))


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
