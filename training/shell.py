"""Shared by the training commands: the parser, and one line for an error."""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
import os
from signal import SIGINT
from signal import SIGPIPE
import sys
import warnings

from tdfusion_ros.core.errors import FusionError
from training.data.datasets import DataError


def parser(module: str, text: str | None) -> ArgumentParser:
    """Return a parser for ``python -m MODULE`` that shows the text of the module as its help."""
    style = RawDescriptionHelpFormatter
    return ArgumentParser(f'python -m {module}', description=text, formatter_class=style)


def run(name: str, main: Callable[[], object]) -> None:
    """
    Run a command; an error from outside ends it with one line, or one for each bad file.

    A warning is one line, too, without the code that gave it.

    After an interrupt the status is 130; its text may say how to continue.
    """
    warnings.formatwarning = lambda message, *_, **__: f'{name}: warning: {message}\n'
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        sys.exit(128 + SIGPIPE)
    except KeyboardInterrupt as stop:
        print(f'{name}: {str(stop) or "interrupted"}', file=sys.stderr)
        sys.exit(128 + SIGINT)
    except (FusionError, OSError) as error:
        problems = error.problems if isinstance(error, DataError) else ()
        if problems[1:]:
            lines = '\n'.join(f'{name}: {problem}' for problem in problems)
            sys.exit(f'{lines}\n{name}: {len(problems)} files cannot be used, see above')
        sys.exit(f'{name}: {error}')
