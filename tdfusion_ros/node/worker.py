"""One thread that owns the engine, fed through a mailbox with one slot: the newest pair wins."""

from collections.abc import Callable
from threading import Condition
from threading import Thread
from typing import Any
from typing import Generic
from typing import TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """Hold at most one item; a newer one replaces it. Closing wakes whoever waits."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; return whether an older one was waiting and is now lost."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
        return replaced

    def take(self) -> Item | None:
        """Wait for an item; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Let ``take`` return None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker(Generic[Item]):
    """
    Build a resource and handle items with it, all in one thread.

    Engines and their contexts belong to the thread that made them, so building is done there too.

    :param build: makes the resource.
    :param handle: called with the resource and the newest item; must not raise.
    """

    def __init__(self, build: Callable[[], Any], handle: Callable[[Any, Item], None]) -> None:
        self._build = build
        self._handle = handle
        self._mailbox: Mailbox[Item] = Mailbox()
        self._built = Condition()
        self._resource: Any = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name='tdfusion_worker', daemon=True)

    def start(self, meanwhile: Callable[[], None] = lambda: None, period_s: float = 1.0) -> Any:
        """
        Start the thread and return the resource; raise what building it raised.

        :param meanwhile: called while it is being built, about every ``period_s`` seconds.
        """
        self._thread.start()
        while not self._wait(period_s):
            meanwhile()
        if self._error is not None:
            raise self._error
        return self._resource

    def put(self, item: Item) -> bool:
        """Hand over an item; return whether it replaced one that was not begun."""
        return self._mailbox.put(item)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the thread after the item at hand; return whether it ended in time."""
        self._mailbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _wait(self, timeout_s: float) -> bool:
        with self._built:
            return self._built.wait_for(
                lambda: self._resource is not None or self._error is not None, timeout_s
            )

    def _run(self) -> None:
        resource, error = None, None
        try:
            resource = self._build()
        except BaseException as caught:  # handed to the thread that called start
            error = caught
        with self._built:
            self._resource, self._error = resource, error
            self._built.notify_all()
        while error is None and (item := self._mailbox.take()) is not None:
            self._handle(resource, item)
