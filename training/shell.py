"""What the commands of the training do with an error: print it, and exit with status 1."""

from collections.abc import Callable
import sys

from tdfusion_ros.core.errors import FusionError
from training.data.datasets import DataError


def run(name: str, main: Callable[[], object]) -> None:
    """Run a command; an error from outside ends it with one line, or one for each bad file."""
    try:
        main()
    except (FusionError, OSError) as error:
        problems = error.problems if isinstance(error, DataError) else ()
        if problems[1:]:
            lines = '\n'.join(f'{name}: {problem}' for problem in problems)
            sys.exit(f'{lines}\n{name}: {len(problems)} files cannot be used, see above')
        sys.exit(f'{name}: {error}')
