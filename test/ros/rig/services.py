"""Clients of the node's services whose responses arrive."""

from typing import Any

from rcl_interfaces.srv import ListParameters


def connected_service(client: Any, kind: Any, name: str) -> Any:
    """
    Return a service client that the node knows.

    Right after discovery the node may not know yet where to send responses, and would lose the
    first one. It gets to know the readers of responses in the order of their creation. So repeat
    a harmless question over a newer service client until it is answered.

    :param client: the :class:`rig.client.Client` that waits and spins.
    """
    service, probe = (
        client.node.create_client(service_kind, f'tdfusion/{service_name}')
        for service_kind, service_name in ((kind, name), (ListParameters, 'list_parameters'))
    )
    client.wait_until(service.service_is_ready, f'service {name}')
    client.wait_until(probe.service_is_ready, 'service list_parameters')
    futures: list[Any] = []

    def is_answered() -> bool:
        futures.append(probe.call_async(ListParameters.Request()))
        return client.spin(1.0, lambda: any(f.done() for f in futures))

    client.wait_until(is_answered, f'a way back from service {name}')
    client.node.destroy_client(probe)
    return service
