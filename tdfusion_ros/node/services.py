"""The node's services: each response says what was done, or why it could not be done."""

from collections.abc import Callable
from concurrent.futures import Future as Work
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import Node
from rclpy.task import Future
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from tdfusion_ros.core.errors import FusionError

THREADS = 'tdfusion_services'
Handler = Callable[[Any], str | Callable[[], str]]


def create_services(
    node: Node,
    *,
    enable: Callable[[bool], str],
    reset_sync: Callable[[], str],
    save_pair: Callable[[], Callable[[], str]],
) -> ThreadPoolExecutor:
    """
    Create ``~/enable``, ``~/reset_sync`` and ``~/save_pair``; return what to shut down at the end.

    Each handler returns the message of the response, or raises FusionError; or it returns a
    function that does so, which is called in another thread while the node goes on receiving.
    """
    threads = ThreadPoolExecutor(1, THREADS)

    def create(kind: Any, name: str, handler: Handler) -> None:
        async def serve(request: Any, response: Any) -> Any:
            try:
                answer = handler(request)
                if callable(answer):
                    answer = await _result(node, threads.submit(answer))
                response.message, response.success = answer, True
                node.get_logger().info(f'{name}: {response.message}')
            except FusionError as error:
                response.message, response.success = str(error), False
                node.get_logger().warn(f'{name}: {error}')
            except Exception as error:  # rclpy would end the node
                response.message, response.success = f'unexpected error: {error!r}', False
                node.get_logger().error(f'{name}: {error!r}')
            return response

        # A group of its own: rclpy serves no other member of a group before the response.
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(kind, f'~/{name}', serve, callback_group=group)

    create(SetBool, 'enable', lambda request: enable(request.data))
    create(Trigger, 'reset_sync', lambda _: reset_sync())
    create(Trigger, 'save_pair', lambda _: save_pair())
    return threads


def survive_impossible_transitions(node: Node) -> None:
    """Refuse a transition that is impossible in the current state; rclpy would end the node."""
    service = node._service_change_state
    change_state = service.callback

    def serve(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except RuntimeError:  # RCLError
            if not node.context.ok():
                raise
            machine = node._state_machine
            asked = request.transition.label or f'the transition {request.transition.id}'
            possible = ', '.join(label for _, label, *_ in machine.available_transitions)
            node.get_logger().warn(
                f'change_state: {asked} is impossible in the state {machine.current_state[1]}; '
                f'possible: {possible or "none"}'
            )
            response.success = False
            return response

    service.callback = serve


async def _result(node: Node, work: Work[str]) -> str:
    """Return the result of work in another thread, or raise its error, when it is done."""
    done = Future()

    def finish(_: Work[str]) -> None:
        done.set_result(True)
        if executor := node.executor:
            executor.wake()

    work.add_done_callback(finish)
    await done
    return work.result()
