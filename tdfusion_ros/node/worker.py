"""One thread that owns the backend and processes the newest item only."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition
from threading import Thread
from typing import Any
from typing import Generic
from typing import TypeVar

Item = TypeVar('Item')
THREAD = 'tdfusion_worker'


class Worker(Generic[Item]):
    """
    Build a resource and process items with it, all in one thread.

    Backends and their contexts belong to the thread that created them. At most one item waits; a
    newer one replaces it.

    :param build: creates the resource.
    :param process: called with the resource and the newest item; must not raise.
    """

    def __init__(self, build: Callable[[], Any], process: Callable[[Any, Item], None]) -> None:
        self._build = build
        self._process = process
        self._resource: Future[Any] = Future()
        self._changed = Condition()
        self._waiting: deque[Item] = deque(maxlen=1)
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
            self._waiting.append(item)
            self._changed.notify()
        return replaced

    def stop(self, timeout_s: float = 10.0) -> bool:
        """
        End the thread after the current item; return whether it ended in time.

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
        except BaseException as error:  # raised where the result is asked for
            self._resource.set_exception(error)
            return
        self._resource.set_result(resource)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.pop()
            self._process(resource, item)
