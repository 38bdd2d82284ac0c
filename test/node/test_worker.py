"""The newest item, in order, with or without overlap; every wait is for an event, not for time."""

from queue import SimpleQueue
from threading import current_thread
from threading import Event

import pytest

from tdfusion_ros.node.worker import MOST_REPLACED
from tdfusion_ros.node.worker import THREAD
from tdfusion_ros.node.worker import Worker

LIMIT_S = 30.0


class Item:
    """An item whose long function ends when told so."""

    def __init__(self, name):
        self.name, self.begun, self.may_end = name, Event(), Event()

    def run(self):
        self.begun.set()
        assert self.may_end.wait(LIMIT_S)
        if self.name == 'bad':
            raise ValueError(self.name)
        return self.name, current_thread().name

    def end(self):
        self.may_end.set()


@pytest.fixture(params=[1, 2])
def at_once(request):
    return request.param


@pytest.fixture
def ended():
    return SimpleQueue()


@pytest.fixture
def worker(at_once, ended):
    def process(resource, item):
        try:
            if item.name != 'dropped':
                ended.put((yield item.run)())
        except ValueError as error:
            ended.put((f'error {error}', current_thread().name))

    made = Worker(object, process, lambda resource: at_once)
    made.start().result(LIMIT_S)
    yield made
    assert made.stop(LIMIT_S)


def test_items_end_in_their_order_and_errors_reach_their_item(worker, ended, at_once):
    names = ['first', 'dropped', 'bad', 'last']
    items = [Item(name) for name in names]
    for item in items:
        worker.put(item)
        if item.name != 'dropped':
            item.end()
            assert ended.get(timeout=LIMIT_S)[0] in (item.name, 'error bad')
    items = [Item('slow'), Item('fast')]
    worker.put(items[0])
    assert items[0].begun.wait(LIMIT_S)
    items[1].end()
    worker.put(items[1])
    if at_once == 2:
        assert items[1].begun.wait(LIMIT_S)  # before the slow one has ended
    assert ended.empty()
    items[0].end()
    results = [ended.get(timeout=LIMIT_S) for _ in items]
    assert [name for name, _ in results] == ['slow', 'fast']
    own = {thread == THREAD for _, thread in results}
    assert own == {at_once == 1}  # a context of a GPU belongs to the thread that made it


@pytest.mark.parametrize('at_once', [2], indirect=True)
def test_a_third_item_waits_and_is_replaced_by_a_newer_one(worker, ended):
    first, second, third, newest = (Item(name) for name in ('1', '2', '3', '4'))
    for item in (first, second):
        assert not worker.put(item)
        assert item.begun.wait(LIMIT_S)
    assert not worker.put(third)
    assert worker.put(newest)
    for item in (second, third, newest, first):
        item.end()
    assert [ended.get(timeout=LIMIT_S)[0] for _ in range(3)] == ['1', '2', '4']
    assert not third.begun.is_set()


@pytest.mark.parametrize('at_once', [2], indirect=True)
def test_nothing_overlaps_where_far_more_comes_than_two_at_once_can_serve(worker, ended):
    def put(count, name):
        items = [Item(f'{name}{i}') for i in range(count)]
        for item in items:
            worker.put(item)
        return items[-1]

    running = []
    for name in 'ab':
        running.append(put(1, name))
        assert running[-1].begun.wait(LIMIT_S)
    late = put(MOST_REPLACED + 2, 'c')
    running[0].end()
    assert late.begun.wait(LIMIT_S)  # the second item still ran when it began
    running[1].end()
    after = put(1, 'd')
    assert [ended.get(timeout=LIMIT_S)[0] for _ in running] == ['a0', 'b0']
    assert not after.begun.wait(0.2)
    late.end()
    assert after.begun.wait(LIMIT_S)
    again = put(1, 'e')
    assert again.begun.wait(LIMIT_S)  # no more came meanwhile
    for item in (after, again):
        item.end()
