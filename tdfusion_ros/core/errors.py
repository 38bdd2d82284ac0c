"""What can be wrong with the world; programming mistakes stay ValueError and TypeError."""


class FusionError(Exception):
    """
    The world is not as needed; the message says what was expected, what was got, what to do.

    It is one line, whatever it quotes, so that logs and standard error show it whole.
    """

    def __init__(self, message: str) -> None:
        super().__init__(' '.join(message.split()))


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
