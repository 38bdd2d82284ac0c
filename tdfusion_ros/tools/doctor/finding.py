"""The result of one check of the doctor."""

from dataclasses import dataclass

OK, WARN, FAIL = 'OK', 'WARN', 'FAIL'


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it, if anything; FAIL: the node cannot work."""

    level: str
    subject: str
    found: str
    remedy: str = ''

    @classmethod
    def ok(cls, subject: str, found: str) -> 'Finding':
        """Return a finding that needs no action."""
        return cls(OK, subject, found)

    @classmethod
    def warn(cls, subject: str, found: str, remedy: str) -> 'Finding':
        """Return a finding to be aware of."""
        return cls(WARN, subject, found, remedy)

    @classmethod
    def fail(cls, subject: str, found: str, remedy: str) -> 'Finding':
        """Return a finding that must be fixed."""
        return cls(FAIL, subject, found, remedy)

    def __str__(self) -> str:
        text = f'{self.level:4}  {self.subject}: {self.found}'
        return f'{text}\n      -> {self.remedy}' if self.remedy else text
