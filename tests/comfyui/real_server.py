"""A ComfyUI server as users start it, on loopback with folders of its own, and a client that listens to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path

import aiohttp
from conftest import COMFYUI, PACK


class Server:
    """`python main.py --cpu --base-directory …` with the pack in its custom_nodes."""

    def __init__(self, base: Path, *arguments: str):
        self.base = base
        self.arguments = arguments
        copy = base / "custom_nodes" / "lumina-mgpt-personalization"
        if not copy.exists():  # no symbolic link: the server hands out no file behind one
            shutil.copytree(PACK, copy, ignore=shutil.ignore_patterns(".*", "runs", "demo", "tests", "__pycache__"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        command = [
            sys.executable,
            "main.py",
            "--cpu",
            "--port",
            str(self.port),
            "--base-directory",
            str(self.base),
            "--database-url",
            "sqlite:///:memory:",
            "--disable-auto-launch",
            *self.arguments,
        ]
        self.log_path = self.base / f"log-{self.port}.txt"
        self.log_file = self.log_path.open("w", encoding="utf-8")
        # Two would wait for each other wherever something else, such as a browser, takes one of two cores.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=COMFYUI, stdout=self.log_file, stderr=subprocess.STDOUT, env=environment
        )
        deadline = time.monotonic() + 180
        while "To see the GUI go to" not in self.log:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.3)
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log_file.close()

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")


class Run:
    """What a client saw of one prompt."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.progress = self.previews = 0
        self.executed: list[str] = []
        self.end, self.error, self.refused = "", "", {}
        self.outputs: dict[str, dict] = {}

    def said(self, node: str) -> str:
        return "\n".join(text for number, text in self.texts if number == node)


async def run(server: Server, graph: dict, interrupt_when=None) -> Run:
    """Queue `graph` and listen until it ends; interrupts once `interrupt_when(run)` holds."""
    client, seen, asked = uuid.uuid4().hex, Run(), False
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{server.address}/ws?clientId={client}", max_msg_size=0) as socket_,
    ):
        async with http.post(f"{server.address}/prompt", json={"prompt": graph, "client_id": client}) as answer:
            if answer.status != 200:
                seen.refused = await answer.json()
                return seen
        async for message in socket_:
            if message.type == aiohttp.WSMsgType.BINARY:
                _read_binary(message.data, seen)
            else:
                _read(json.loads(message.data), seen)
            if seen.end:
                return seen
            if interrupt_when and not asked and interrupt_when(seen):
                asked = True
                await http.post(f"{server.address}/interrupt")
    raise AssertionError(f"the server went away:\n{server.log[-3000:]}")


def _read_binary(data: bytes, seen: Run) -> None:
    kind = struct.unpack(">I", data[:4])[0]
    if kind == 3:  # text on a node
        length = struct.unpack(">I", data[4:8])[0]
        seen.texts.append((data[8 : 8 + length].decode(), data[8 + length :].decode()))
    else:
        seen.previews += 1


def _read(message: dict, seen: Run) -> None:
    kind, data = message["type"], message["data"]
    if kind == "progress":
        seen.progress += 1
    elif kind == "executing" and data.get("node"):
        seen.executed.append(data["node"])
    elif kind == "executed":
        seen.outputs[data["node"]] = data["output"]
    elif kind in ("execution_success", "execution_interrupted"):
        seen.end = kind
    elif kind == "execution_error":
        seen.end, seen.error = kind, data["exception_message"].strip()
