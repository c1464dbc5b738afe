"""A node of the tests: keeps what arrives on topics and calls services."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

TIMEOUT_S = 30.0
_ANSWER_S = 8.0


class Listener:
    """Made before the publisher of interest speaks; `received` holds a list per topic."""

    def __init__(self, context: Context, topics: dict[str, type] | None = None) -> None:
        self.node = Node("listener", context=context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self.received: dict[str, list[Any]] = {topic: [] for topic in topics or {}}
        for topic, kind in (topics or {}).items():
            self.node.create_subscription(kind, topic, self.received[topic].append, 100)

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, f"waited {timeout_s} s for {what}"
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        """Handles what arrives for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer to a request that may be made twice: where none comes, it is."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s:
            answer = self._ask(kind, name, request)
            if answer is not None:
                return answer
        raise AssertionError(f"waited {TIMEOUT_S} s for the answer of {name}")

    def _ask(self, kind: Any, name: str, request: Any) -> Any | None:
        """None when the answer was lost. A server that does not know a new client yet, as on a busy machine, gives its
        answer up after 100 ms: "client will not receive response" (rmw_fastrtps)."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.wait(client.service_is_ready, name)
        future = client.call_async(request)
        deadline_s = time.monotonic() + _ANSWER_S
        while not future.done() and time.monotonic() < deadline_s:
            self._executor.spin_once(timeout_sec=0.05)
        return future.result() if future.done() else None

    def change_state(self, node: str, transition: int) -> bool:
        """Whether the node made the transition. Where the answer is lost, its state tells, after the transition: it answers
        in order."""
        request = ChangeState.Request()
        request.transition.id = transition
        before = self.state(node)
        answer = self._ask(ChangeState, f"{node}/change_state", request)
        return bool(answer.success) if answer is not None else self.state(node) != before

    def state(self, node: str) -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
