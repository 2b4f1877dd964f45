"""Progress, previews and cancel on the running node."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management as memory
import comfy.utils
import torch
from PIL import Image

from ...ar_core import Cancelled
from ...ar_core.control import stop_if
from ...ar_core.devices import is_out_of_memory
from .private import send_text
from .termination import saved_on_termination

Interrupted = memory.InterruptProcessingException
PREVIEW = 512  # pixels of the longer side
OUT_OF_MEMORY = (
    "{device} ran out of memory while {doing}. {remedy}, choose int8 or 4-bit in the node that loads the model, or "
    "close other programs."
)
STOPPED = "Stopped at your request; what was finished is kept."
ENDS = (".", "!", "?", ":", ";")


class Reporter:
    """Progress and Cancel of `ar_core`, shown on the running node.

    Interrupts that come with an update are remembered, not raised: the engine stops at its next step and saves first.
    Later versions of ComfyUI also raise them inside a layer's forward; the engine saves then too.
    """

    def __init__(self) -> None:
        self.bar = comfy.utils.ProgressBar(1)
        self.stopped = False
        self.preview: Image.Image | None = None
        self.remaining = Remaining()
        show_text("getting ready")  # the frontend draws a text over a preview that came before it

    def progress(self, done: int, total: int, message: str) -> None:
        left = self.remaining.text(done, total)
        if left:
            show_text(f"{message}\n{done} of {total}, {left}")
        self._update(done, total)

    def show(self, image: Image.Image) -> None:
        """Show a picture on the node without moving the bar."""
        self.preview = image
        self._update(self.bar.current, self.bar.total)

    def _update(self, done: int, total: int) -> None:
        shown = None
        if self.preview is not None:
            shown = ("JPEG", self.preview.convert("RGB"), PREVIEW)
            self.preview = None
        try:
            self.bar.update_absolute(done, total, shown)
        except Interrupted:
            self.stopped = True

    def cancel(self) -> bool:
        self.stopped = self.stopped or memory.processing_interrupted()
        return self.stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turns the engine's Cancelled into ComfyUI's own interruption, with what the engine says about it.

        The end of the process that SIGTERM asks for is such an interruption, too.
        """
        try:
            with saved_on_termination():
                yield
            stop_if(self.cancel)  # it may have come with the very last update
        except Cancelled as stopped:
            memory.interrupt_current_processing(False)
            raise Interrupted(str(stopped)) from None


def explain_on_node(execute: Callable) -> Callable:
    """A node's `execute` whose end also stands on the node: what pops up in the browser leaves the sentence out."""

    @functools.wraps(execute)
    def wrapped(*arguments: Any, **inputs: Any) -> Any:
        try:
            return execute(*arguments, **inputs)
        except Interrupted as stopped:  # an Exception until ComfyUI 0.7
            show_text(explained(str(stopped) or STOPPED, stopped))
            raise
        except Exception as error:
            show_text(explained(str(error) or type(error).__name__, error))
            raise

    return wrapped


@contextmanager
def advising_out_of_memory(doing: str, remedy: str) -> Iterator[None]:
    """While this lasts, a card that is full gives advice instead of torch's numbers.

    Raises torch's OutOfMemoryError, upon which ComfyUI unloads its models.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        device = "The card"
        if memory.is_device_cpu(memory.get_torch_device()):
            device = "This computer"
        raise torch.cuda.OutOfMemoryError(OUT_OF_MEMORY.format(device=device, doing=doing, remedy=remedy)) from error


def add_note(error: BaseException, note: str) -> None:
    """Have `note` stand on the node below the error's own sentence (PEP 678, which Python 3.10 lacks)."""
    error.__dict__.setdefault("__notes__", []).append(note)


def explained(sentence: str, error: BaseException) -> str:
    """`sentence` and the notes that were added to the error."""
    return "\n".join([sentence, *getattr(error, "__notes__", [])])


class Remaining:
    """Time left, judged by the steps seen so far; at most twice a second."""

    FEWEST = 3  # steps before a judgement
    PAUSE = 0.5  # seconds between two

    def __init__(self) -> None:
        self.restart(0, 0)

    def restart(self, done: int, total: int) -> None:
        """Forget the pace: another thing is being done."""
        self.first = done
        self.newest = done
        self.total = total
        self.started = time.monotonic()
        self.shown = 0.0

    def text(self, done: int, total: int) -> str:
        """ "3 min left of 5 min", or "" where nothing new can be said."""
        if total != self.total or done < self.newest:  # the next prompt counts from the start again
            self.restart(done, total)
        self.newest = done
        now = time.monotonic()
        steps = done - self.first
        just_shown = now - self.shown < self.PAUSE and done < total
        if steps < self.FEWEST or just_shown:
            return ""
        self.shown = now
        each = (now - self.started) / steps
        return f"{duration(each * (total - done))} left of {duration(each * total)}"


def duration(seconds: float) -> str:
    """ "45 s", "3 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min"


def show_text(text: str) -> None:
    """Show `text` on the running node, every line as a sentence: one of ComfyUI's renderings joins lines by a space."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        lines = [line if line.endswith(ENDS) else f"{line}." for line in lines]
    send_text("\n".join(lines))
