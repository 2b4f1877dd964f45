"""CUDA graphs: a decoding step recorded once and replayed without Python, one recording per shape.

A step with few rows is many short kernels, and starting them takes a CPU longer than a large card takes to run them.
On an H200 recorded steps draw the same codes 2.4 to 2.9 times as fast as plain ones (docs/card/h200.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, int], Tensor]  # ids, positions, slots of the cache -> logits
# A step -> how to replay it, and where its result lies then
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


@dataclass(frozen=True, eq=False)
class Recording:
    """A captured step with the buffers it reads and writes."""

    ids: Tensor
    positions: Tensor
    replay: Callable[[], None]
    result: Tensor


class Graphs:
    """A step that is replayed where it can be.

    The first call of a shape runs plainly: libraries make their workspaces then, which a capture cannot. The second
    is recorded. A recording holds addresses; all are dropped when one of `weights` lies elsewhere (patched, moved,
    offloaded) as a picture begins, and nothing is recorded while one of them is not on the device. Where recording
    fails, steps stay plain.
    """

    def __init__(self, weights: Callable[[], Iterable[Tensor]], device: torch.device, capture: Capture | None = None):
        self.weights = weights
        self.device = device
        self.capture: Capture | None = capture or CudaCapture()
        self.seen: set[tuple] = set()
        self.recordings: dict[tuple, Recording] = {}
        self.addresses: tuple[int, ...] = ()
        self.resident = False

    def begin(self) -> None:
        """A picture begins: forget all recordings if a weight has moved since the last one."""
        weights = list(self.weights())
        addresses = tuple(weight.data_ptr() for weight in weights)
        if addresses != self.addresses:
            self.addresses = addresses
            self.seen.clear()
            self.recordings.clear()
        self.resident = all(weight.device.type == self.device.type for weight in weights)

    def __call__(self, step: Step, ids: Tensor, positions: Tensor, slots: int) -> Tensor:
        """What `step` returns.

        `step` must always be the same function of its arguments and the weights, with the same side effects.
        """
        key = (*ids.shape, slots)
        if self.resident and key in self.seen and self._recorded(key, step, ids, positions, slots):
            return replay_recording(self.recordings[key], ids, positions)
        self.seen.add(key)
        return step(ids, positions, slots)

    def _recorded(self, key: tuple, step: Step, ids: Tensor, positions: Tensor, slots: int) -> bool:
        """Whether there is a recording for `key`, made now if need be."""
        if key not in self.recordings and self.capture:
            own_ids = ids.clone()
            own_positions = positions.clone()
            try:
                replay, result = self.capture(lambda: step(own_ids, own_positions, slots))
            except RuntimeError as error:
                warnings.warn(f"CUDA graphs are off: recording failed ({error}).", stacklevel=2)
                self.capture = None
            else:
                self.recordings[key] = Recording(own_ids, own_positions, replay, result)
        return key in self.recordings


def replay_recording(recording: Recording, ids: Tensor, positions: Tensor) -> Tensor:
    """The result of a recorded step for other inputs of the same shapes."""
    recording.ids.copy_(ids)
    recording.positions.copy_(positions)
    recording.replay()
    return recording.result.clone()  # the next replay of any recording may write there


class CudaCapture:
    """torch's capture; all recordings share one pool of memory, since no two run at a time."""

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread, such as one that fetches weights of the host's next model, may use the card.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            result = step()
        return graph.replay, result
