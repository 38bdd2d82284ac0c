"""One thread that owns the backend and processes the newest item only."""

from collections import deque
from collections.abc import Callable
from collections.abc import Generator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from threading import Condition
from threading import Thread
from typing import Any
from typing import Generic
from typing import TypeVar

Item = TypeVar('Item')
Steps = Generator[Callable[[], Any], Callable[[], Any], None]
THREAD = 'tdfusion_worker'
MOST_REPLACED = 2
"""Of items since the last start, so that items overlap: two at once serve twice as many at best,
so with more, both would only be late."""


class Worker(Generic[Item]):
    """
    Build a resource and process items with it, all in one thread.

    Backends and their contexts belong to the thread that created them. At most one item waits; a
    newer one replaces it.

    :param build: creates the resource.
    :param process: called with the resource and the newest item; must not raise. It may yield once
        a function that takes long, and then takes one that returns its result, or raises.
    :param at_once: returns how many of these functions the resource may run at once, each in a
        thread of its own; with 1 the worker's own thread runs them. Items end in their order.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        process: Callable[[Any, Item], Steps],
        at_once: Callable[[Any], int] = lambda resource: 1,
    ) -> None:
        self._build = build
        self._process = process
        self._at_once = at_once
        self._resource: Future[Any] = Future()
        self._changed = Condition()
        self._waiting: deque[Item] = deque(maxlen=1)
        self._replaced = 0  # since the last start of an item
        self._running: deque[tuple[Steps, Future[Any]]] = deque()
        self._limit = 1  # of running items
        self._stopping = False
        self._thread = Thread(target=self._run, name=THREAD, daemon=True)

    def start(self) -> Future[Any]:
        """Start the thread and return the future of the resource."""
        self._thread.start()
        return self._resource

    def put(self, item: Item) -> bool:
        """Submit an item; return whether it replaced one that was still waiting."""
        with self._changed:
            replaced = bool(self._waiting)
            self._replaced += replaced
            self._waiting.append(item)
            self._changed.notify()
        return replaced

    def stop(self, timeout_s: float = 10.0) -> bool:
        """
        End the thread after the current items; return whether it ended in time.

        While the resource is being built, do not wait; the thread ends after that.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if not self._resource.done():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            resource = self._build()
            at_once = self._at_once(resource)
        except BaseException as error:  # raised where the result is asked for
            self._resource.set_exception(error)
            return
        self._resource.set_result(resource)
        with ThreadPoolExecutor(at_once, THREAD) as pool:
            all_started = Barrier(at_once)  # else a thread starts when it is needed, perhaps late
            deque(pool.map(lambda _: all_started.wait(), range(at_once)))
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._is_due())
                    if self._stopping:
                        return
                    if has_ended := self._has_ended():
                        steps, future = self._running.popleft()
                    else:
                        item = self._waiting.pop()
                        self._limit = 1 if self._replaced > MOST_REPLACED else at_once
                        self._replaced = 0
                if has_ended:
                    _finish(steps, future.result)
                    continue
                steps = self._process(resource, item)
                if (function := next(steps, None)) is None:
                    continue
                if at_once == 1:
                    _finish(steps, function)
                else:
                    self._running.append((steps, pool.submit(function)))
                    self._running[-1][1].add_done_callback(self._wake)

    def _has_ended(self) -> bool:
        return bool(self._running) and self._running[0][1].done()

    def _is_due(self) -> bool:
        """Return whether the first item has ended, or another one may start."""
        return self._has_ended() or (bool(self._waiting) and len(self._running) < self._limit)

    def _wake(self, _: Future[Any]) -> None:
        with self._changed:
            self._changed.notify()


def _finish(steps: Steps, result: Callable[[], Any]) -> None:
    with suppress(StopIteration):
        steps.send(result)
