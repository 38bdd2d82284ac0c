"""The node's services: each says in its response what was done, or why not."""

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rclpy.lifecycle import Node
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats.messages import camera_info_values
from tdfusion_ros.formats.saved_pairs import save_pair


class Services:
    """
    ``~/enable``, ``~/reset_sync`` and ``~/save_pair``.

    Each of the callables returns a sentence, or raises FusionError.
    """

    def __init__(
        self,
        node: Node,
        enable: Callable[[bool], str],
        reset_sync: Callable[[], str],
        save_pair: Callable[[], str],
    ) -> None:
        self._node = node
        self._add(SetBool, 'enable', lambda request: enable(request.data))
        self._add(Trigger, 'reset_sync', lambda request: reset_sync())
        self._add(Trigger, 'save_pair', lambda request: save_pair())

    def _add(self, kind: Any, name: str, work: Callable[[Any], str]) -> None:
        def serve(request: Any, response: Any) -> Any:
            try:
                response.message, response.success = work(request), True
                self._node.get_logger().info(f'{name}: {response.message}')
            except FusionError as error:
                response.message, response.success = str(error), False
                self._node.get_logger().warn(f'{name}: {error}')
            except Exception as error:  # rclpy would end the node with it
                response.message, response.success = f'not done: {error!r}', False
                self._node.get_logger().error(f'{name}: {error!r}')
            return response

        self._node.create_service(kind, f'~/{name}', serve)


class Saver:
    """Save pairs, each one once."""

    def __init__(self) -> None:
        self._match: FramePair | None = None
        self._path = ''

    def save(
        self,
        match: FramePair,
        config: FusionConfig,
        infos: Mapping[str, Any],
        facts: Mapping[str, str],
    ) -> str:
        """
        Return where the metadata of a pair now lies.

        :param match: of both cameras.
        :param infos: the camera info of each stream that has one.
        :param facts: what ran which model.
        :raises RequestError: if it cannot be written.
        """
        if match is not self._match:
            known = {
                'camera_info': {stream: camera_info_values(i) for stream, i in infos.items()},
                'model': dict(facts),
                'config': asdict(config),
            }
            self._path = str(save_pair(config.save_folder, match, known))
            self._match = match
        return self._path
