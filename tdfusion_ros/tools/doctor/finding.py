"""The result of one check of the doctor."""

from dataclasses import dataclass

OK, WARN, FAIL = 'OK', 'WARN', 'FAIL'


@dataclass(frozen=True)
class Finding:
    """
    What was found, and what to do about it.

    :param level: FAIL if the node cannot work like this.
    :param remedy: empty if there is nothing to do.
    """

    level: str
    subject: str
    found: str
    remedy: str = ''

    def __str__(self) -> str:
        text = f'{self.level:4}  {self.subject}: {self.found}'
        return f'{text}\n      -> {self.remedy}' if self.remedy else text


def ok(subject: str, found: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(OK, subject, found)


def warn(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding to be aware of."""
    return Finding(WARN, subject, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Finding:
    """Return a finding that must be fixed."""
    return Finding(FAIL, subject, found, remedy)
