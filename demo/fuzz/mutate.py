"""Make right things wrong: bytes, numbers and trees as YAML and JSON hold them."""

from collections.abc import Sequence
import copy
from random import Random
import struct
from typing import Any

MOST_BYTES = 1 << 18
NUMBERS: tuple[int | float, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 8192, 8193, 65535, 65536),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**400, -(10**400)),
    *(-0.0, 0.5, 1e-320, 1e-30, 1e30, 1e300, -1e300),
    *(float('nan'), float('inf'), float('-inf')),
)
TEXTS = (
    *('', ' ', 'nan', '1e999', '-inf', 'true', '\x00', 'a\x00b', '\ud800', '\u202e', 'é' * 40),
    *('a' * 100_000, '../../etc/passwd', '%s%n%x', '!!python/object/apply:os.system ["false"]'),
    *(
        '{' * 3000,
        '[' * 3000,
        '<script>',
        'mono8',
        '/',
        '//',
        '~',
        '9' * 5000,
        '0b_',
        '2001-99-99',
    ),
)
WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def number(rng: Random) -> int | float:
    """Return a number that is likely to be wrong."""
    if rng.random() < 0.75:
        return rng.choice(NUMBERS)
    return rng.choice((rng.uniform(-1e4, 1e4), rng.randint(-(2**40), 2**40), rng.gauss(0, 1)))


def unsigned(rng: Random, bits: int) -> int:
    """Return a number that fits a message's field, small ones as often as absurd ones."""
    pool = [n for n in NUMBERS if isinstance(n, int) and 0 <= n < 2**bits]
    return rng.choice(pool) if rng.random() < 0.5 else rng.randrange(min(2**bits, 200))


def deep(rng: Random) -> Any:
    """Return lists within lists."""
    out: Any = number(rng)
    for _ in range(rng.choice((3, 40, 70, 900))):
        out = [out]
    return out


def anything(rng: Random) -> Any:
    """Return a value of whatever type."""
    kind = rng.randrange(8)
    if kind < 3:
        return number(rng)
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return deep(rng)
    return copy.deepcopy(
        rng.choice((None, True, False, [], {}, [[]], {'': None}, {'mode': []}, [0] * 3000))
    )


def tree(rng: Random, value: Any) -> Any:
    """Return a copy of a tree with one to three of its nodes wrong."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _one(rng, value)
    return value


def _one(rng: Random, value: Any) -> Any:
    inner = isinstance(value, (dict, list)) and bool(value)
    if not inner or rng.random() < 0.08:
        return anything(rng)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key, act = rng.choice(keys), rng.random()
    if act < 0.08:
        del value[key]
    elif act < 0.14 and isinstance(value, list):
        value.insert(key, anything(rng))
    elif act < 0.14:
        value[rng.choice(TEXTS)] = value.pop(key)
    elif act < 0.2:
        value[key] = copy.deepcopy(value[rng.choice(keys)])
    else:
        value[key] = _one(rng, value[key])
    return value


def mangle(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """
    Return bytes with one to four faults.

    :param others: samples of the same kind, to splice from.
    """
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not out:
            break
        _fault(rng, out, others or (data,))
    return bytes(out[: max(MOST_BYTES, 2 * len(data))])


def _fault(rng: Random, out: bytearray, others: Sequence[bytes]) -> None:
    at, act = rng.randrange(len(out)), rng.randrange(10)
    if rng.random() < 0.4:  # headers decide more than what follows them
        at = min(at, rng.randrange(64))
    if act < 3:
        out[at] ^= 1 << rng.randrange(8)
    elif act == 3:
        out[at] = rng.randrange(256)
    elif act == 4:
        del out[at:]
    elif act == 5:
        del out[at : at + rng.choice((1, 2, 4, 40))]
    elif act == 6:
        out[at:at] = out[at : at + rng.choice((1, 4, 40, 400))]
    elif act == 7:
        other = rng.choice(others)
        begin = rng.randrange(len(other) + 1)
        out[at : at + rng.choice((0, 40, 1 << 20))] = other[begin : begin + 4000]
    elif act == 8:
        form = rng.choice(('<H', '>H', '<I', '>I', '<Q', '>Q'))
        size = struct.calcsize(form)
        out[at : at + size] = struct.pack(form, rng.choice(WORDS) & (2 ** (8 * size) - 1))
    else:
        out[at : at + 1] = rng.randbytes(rng.choice((1, 8, 100)))
