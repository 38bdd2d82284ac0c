"""What can be wrong with the world; programming mistakes stay ValueError and TypeError."""

MOST_CHARACTERS = 2000


class FusionError(Exception):
    """
    The world is not as needed; the message says what was expected, what was got, what to do.

    It is one line of printable characters, whatever it quotes, so that logs and standard error
    show it whole; where it quotes far too much, its middle is left out.
    """

    def __init__(self, message: str) -> None:
        if len(message) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2
            message = f'{message[:half]} … {message[-half:]}'
        line = ' '.join(message.split())
        if not line.isprintable():
            line = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        super().__init__(line)


class ConfigError(FusionError):
    """A parameter is misspelt, out of range, or asks for what this machine does not have."""


class CalibrationError(FusionError):
    """A calibration file cannot be used."""


class ModelError(FusionError):
    """A model bundle cannot be used."""


class BagError(FusionError):
    """A bag or a folder of images cannot be read or written."""


class RequestError(FusionError):
    """A service asks for what the node cannot do now."""


class FrameError(FusionError):
    """
    One frame cannot be used; it is dropped, counted by ``cause``, and the next one is awaited.

    :param cause: a short word for counters, as ``bad_encoding``.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
