"""ComfyUI's own validation and executor in this process, without a server."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class StubServer:
    """What the executor needs of a server; keeps every message."""

    client_id: str = "test"
    last_node_id: str | None = None
    last_prompt_id: str | None = None
    sockets_metadata: dict = field(default_factory=dict)
    sent: list = field(default_factory=list)

    def send_sync(self, event, data, sid=None):
        self.sent.append((event, data))

    def send_progress_text(self, text, node_id, sid=None):
        self.sent.append(("text", (node_id, text)))


@dataclass
class Outcome:
    """What one run of a graph gave."""

    messages: list
    sent: list
    history: dict
    outputs: dict
    refused: dict

    @property
    def ok(self) -> bool:
        return any(event == "execution_success" for event, _ in self.messages)

    @property
    def interrupted(self) -> bool:
        return any(event == "execution_interrupted" for event, _ in self.messages)

    @property
    def error(self) -> str:
        return next(
            (data["exception_message"].strip() for event, data in self.messages if event == "execution_error"), ""
        )

    @property
    def traceback(self) -> str:
        return (
            "".join(line for event, data in self.messages if event == "execution_error" for line in data["traceback"])
            + self.error
        )

    @property
    def executed(self) -> set[str]:
        return {data["node"] for event, data in self.sent if event == "executing" and data.get("node")}

    def texts(self, node: str | None = None) -> list[str]:
        """What was shown on one node, or on all."""
        return [
            text for event, value in self.sent if event == "text" for number, text in [value] if node in (None, number)
        ]

    def refusal(self, sentence: str) -> bool:
        """Whether our sentence is the error and stands on the node, or this version refused the value itself."""
        if self.error:
            return sentence in self.error and any(sentence in text for text in self.texts())
        return "value_not_in_list" in str(self.refused) or sentence in str(self.refused)


class Comfy:
    """Runs graphs in API form; every instance remembers outputs between runs, as one server does."""

    def __init__(self, base: Path):
        import comfy.model_management
        import comfy.utils
        import execution
        from server import PromptServer

        self.base, self.server = base, StubServer()
        PromptServer.instance = self.server

        def hook(value, total, preview, prompt_id=None, node_id=None):  # as main.py's: raises on interruption
            comfy.model_management.throw_exception_if_processing_interrupted()
            self.server.send_sync("progress", (value, total, preview))

        comfy.utils.set_progress_bar_global_hook(hook)
        later = "cache_args" in inspect.signature(execution.PromptExecutor).parameters  # than 0.3.64
        sizes = {"cache_args": {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}} if later else {}
        self.executor, self._execution = execution.PromptExecutor(self.server, **sizes), execution

    def run(self, graph: dict) -> Outcome:
        self.server.sent.clear()
        valid, error, targets, node_errors = asyncio.run(self._execution.validate_prompt(uuid.uuid4().hex, graph, None))
        if not valid:
            return Outcome([], [], {}, {}, {"error": error, "nodes": node_errors})
        self.executor.execute(graph, uuid.uuid4().hex, {"client_id": "test"}, targets)
        outputs = {node: self._output(node) for node in graph}
        return Outcome(
            list(self.executor.status_messages),
            list(self.server.sent),
            self.executor.history_result,
            outputs,
            node_errors,
        )

    def _output(self, node: str):
        cached = self.executor.caches.outputs.get(node)
        if inspect.isawaitable(cached):  # later versions
            cached = asyncio.run(_awaited(cached))
        return getattr(cached, "outputs", cached)


async def _awaited(value):
    return await value
