"""Progress lines while something takes long."""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from threading import Thread
from time import monotonic

PERIOD_S = 5.0


@contextmanager
def progress(what: str, report: Callable[[str], None]) -> Iterator[None]:
    """Report ``what`` and the seconds spent on it every few seconds, from another thread."""
    done, began = Event(), monotonic()

    def run() -> None:
        while not done.wait(PERIOD_S):
            report(f'{what}: {monotonic() - began:.0f} s so far')

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
