"""One thing that was looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

OK, WARN, FAIL = 'OK', 'WARN', 'FAIL'


@dataclass(frozen=True)
class Finding:
    """
    What was found, and what to do about it.

    :param level: FAIL where the node cannot do its work so.
    :param remedy: empty where nothing needs to be done.
    """

    level: str
    subject: str
    sentence: str
    remedy: str = ''

    def __str__(self) -> str:
        text = f'{self.level:4}  {self.subject}: {self.sentence}'
        return f'{text}\n      -> {self.remedy}' if self.remedy else text


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line of the report."""
    fails, warns = (sum(f.level == level for f in findings) for level in (FAIL, WARN))
    if not fails and not warns:
        return 'nothing stands in the way'
    return f'{fails} to be put right (FAIL), {warns} to be known (WARN)'
