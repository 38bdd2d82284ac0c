"""Errors in input, files and installation; programming errors are ValueError and TypeError."""

MAX_CHARACTERS = 2000


class FusionError(Exception):
    """Something from outside is wrong; says expected, found, what to do, on one printable line."""

    def __init__(self, message: str) -> None:
        if len(message) > MAX_CHARACTERS:
            half = MAX_CHARACTERS // 2
            message = f'{message[:half]} … {message[-half:]}'
        line = ' '.join(message.split())
        if not line.isprintable():
            line = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        super().__init__(line)


class ConfigError(FusionError):
    """A parameter is unknown, out of range, or needs something that this machine does not have."""


class CalibrationError(FusionError):
    """A calibration file cannot be used."""


class ModelError(FusionError):
    """A model bundle cannot be used."""


class BagError(FusionError):
    """A bag or a folder of images cannot be read or written."""


class OutputError(FusionError):
    """A file or folder cannot be written."""


class RequestError(FusionError):
    """The node cannot do now what a service asks for."""


class FrameError(FusionError):
    """A frame cannot be used; it is dropped and counted by ``cause``, as ``bad_encoding``."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
