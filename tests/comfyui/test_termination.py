"""SIGTERM while the pack works: it is handled where nobody else does, and handed back as it was."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="loops of Windows handle no signals")


@pytest.fixture
def termination(pack):
    return pack("nodes.host.termination")


@pytest.fixture
def during(termination, monkeypatch):
    """Handles SIGTERM in a loop, with what others do to it before and meanwhile; gives what handles it afterwards."""

    def run(before=None, meanwhile=None):
        async def main():
            loop = asyncio.get_running_loop()
            monkeypatch.setattr(termination, "event_loop", lambda: loop)
            if before:
                before(loop)
            with termination.saved_on_termination():
                await asyncio.sleep(0)
                if meanwhile:
                    meanwhile(loop)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)
            return signal.getsignal(signal.SIGTERM)

        try:
            return asyncio.run(main())
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return run


def test_afterwards_nobody_handles_the_signal_as_before(during):
    assert during() == signal.SIG_DFL


def test_a_handler_that_another_pack_gave_the_loop_stays(during):
    assert during(before=lambda loop: loop.add_signal_handler(signal.SIGTERM, print)) != signal.SIG_DFL


def test_a_handler_that_another_pack_gives_the_loop_meanwhile_stays(during):
    assert during(meanwhile=lambda loop: loop.add_signal_handler(signal.SIGTERM, print)) != signal.SIG_DFL


def test_a_handler_that_another_pack_gives_python_meanwhile_stays(during):
    def other(number, frame):
        """Does nothing."""

    assert during(meanwhile=lambda loop: signal.signal(signal.SIGTERM, other)) is other


def test_the_inner_of_two_ends_nothing(during, termination, monkeypatch):
    """What is saved between them is saved before the process ends."""
    import comfy.model_management as memory

    killed = []
    monkeypatch.setattr(termination.os, "kill", lambda *call: killed.append(call))
    handled = []

    def meanwhile(loop):
        with termination.saved_on_termination():
            loop.call_soon(signal.raise_signal, signal.SIGTERM)
        loop.call_later(0.03, lambda: handled.append((list(killed), memory.processing_interrupted())))

    during(meanwhile=meanwhile)
    memory.interrupt_current_processing(False)
    assert handled == [([], True)] and len(killed) == 1
