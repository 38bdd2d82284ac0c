"""The node's services: each response says what was done, or why it could not be done."""

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import Node
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from tdfusion_ros.core.errors import FusionError


def create_services(
    node: Node,
    *,
    enable: Callable[[bool], str],
    reset_sync: Callable[[], str],
    save_pair: Callable[[], str],
) -> None:
    """
    Create ``~/enable``, ``~/reset_sync`` and ``~/save_pair``.

    Each handler returns the message of the response, or raises FusionError.
    """

    def create(kind: Any, name: str, handler: Callable[[Any], str]) -> None:
        def serve(request: Any, response: Any) -> Any:
            try:
                response.message, response.success = handler(request), True
                node.get_logger().info(f'{name}: {response.message}')
            except FusionError as error:
                response.message, response.success = str(error), False
                node.get_logger().warn(f'{name}: {error}')
            except Exception as error:  # rclpy would end the node
                response.message, response.success = f'unexpected error: {error!r}', False
                node.get_logger().error(f'{name}: {error!r}')
            return response

        node.create_service(kind, f'~/{name}', serve)

    create(SetBool, 'enable', lambda request: enable(request.data))
    create(Trigger, 'reset_sync', lambda _: reset_sync())
    create(Trigger, 'save_pair', lambda _: save_pair())
