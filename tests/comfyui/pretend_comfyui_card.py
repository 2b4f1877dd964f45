"""ComfyUI's memory management on a pretend card of a chosen size: its own code runs, asked as on an NVIDIA card.

With `dynamic`, DynamicVRAM is on: in place of comfy-aimdo's library stands a memory with a budget, from which weights
that are not in use are evicted, and spoiled, as soon as others need the room.
"""

from __future__ import annotations

import collections
import itertools
from typing import Any

import torch
from pretend_card import DEVICE, Card, CardTensor, with_streams

GIB = 2**30


def pretend(
    card: Card, setattr_: Any, *, cuda_malloc: bool, most: int | None = None, dynamic: int | None = None
) -> None:
    """Make ComfyUI believe in `card`, through a monkeypatch's `setattr`.

    `most`: bytes of one model's layers that are held there, for versions that hold 128 MiB at least, which is more than
    the miniature has. `dynamic`: bytes that weights may take with DynamicVRAM.
    """
    import comfy.model_management as memory

    with_streams(setattr_)
    setattr_(memory, "get_torch_device", lambda: DEVICE)
    setattr_(memory, "vae_device", lambda: DEVICE)
    setattr_(memory, "cpu_state", memory.CPUState.GPU)
    setattr_(memory, "vram_state", memory.VRAMState.NORMAL_VRAM)
    setattr_(memory, "lowvram_available", True)
    setattr_(memory, "is_nvidia", lambda: True)
    setattr_(memory, "should_use_bf16", lambda *_, **__: True)
    setattr_(memory, "soft_empty_cache", lambda *_, **__: None)
    setattr_(memory, "MIN_WEIGHT_MEMORY_RATIO", 0.0)
    setattr_(memory, "minimum_inference_memory", lambda: 0)
    setattr_(memory, "extra_reserved_memory", lambda: 0)
    setattr_(memory, "get_free_memory", lambda device=None, torch_free_too=False: free(card, device, torch_free_too))
    setattr_(memory, "get_total_memory", lambda device=None, torch_total_too=False: both(card.size, torch_total_too))
    setattr_(memory.args, "cuda_malloc", cuda_malloc)
    later = {  # than 0.3.64
        "NUM_STREAMS": 2,
        "STREAMS": {},
        "stream_counters": {},
        "synchronize": lambda *_: None,
        "lora_compute_dtype": lambda device: torch.float32,
    }
    for name, value in later.items():
        if hasattr(memory, name):
            setattr_(memory, name, value)
    if most is not None and not hasattr(memory, "is_oom"):  # before 0.4
        load = memory.LoadedModel.model_load

        def held_back(self: Any, room: float = 0, **options: Any) -> Any:
            left = max(0.1, most - self.model_loaded_memory())
            return load(self, min(room or left, left), **options)

        setattr_(memory.LoadedModel, "model_load", held_back)
    if dynamic is not None:
        turn_on_dynamic_vram(setattr_, dynamic)


def free(card: Card, device: Any, torch_free_too: bool) -> Any:
    if device is not None and torch.device(device).type == "cpu":
        return both(64 * GIB, torch_free_too)
    return both(card.size - card.bytes, torch_free_too, 0)


def both(value: int, with_torch: bool, torchs: int | None = None) -> Any:
    if with_torch:
        return value, value if torchs is None else torchs
    return value


# ---------------------------------------------------------------- DynamicVRAM


def spoiled(size: int) -> torch.Tensor:
    """Bytes that nobody wrote, as a card has them; as numbers they are NaN."""
    with torch.inference_mode(False):
        return torch.full((size,), 255, dtype=torch.uint8)


class Vbar:
    """A model's weights in the card's memory: each has its place, and is there or not."""

    budget = 0  # bytes for all of them
    all: list[Vbar] = []
    numbers = itertools.count(1)
    evicted = collections.Counter()

    def __init__(self, size: float, device: Any):
        self.offset = 0
        self.resident: collections.OrderedDict[int, tuple[torch.Tensor, int]] = collections.OrderedDict()
        self.pinned: collections.Counter[int] = collections.Counter()
        Vbar.all.append(self)

    def alloc(self, size: int) -> tuple[Vbar, int, int]:
        self.offset += size
        return self, self.offset - size, size

    def fault(self, offset: int, size: int) -> int | None:
        """Have the weight at `offset` there, with the number that says since when; None where there is no room."""
        self.pinned[offset] += 1
        if offset in self.resident:
            self.resident.move_to_end(offset)
            return self.resident[offset][1]
        Vbar.make_room(size)
        if sum(vbar.loaded_size() for vbar in Vbar.all) + size > Vbar.budget:
            self.pinned[offset] -= 1
            return None
        self.resident[offset] = (spoiled(size), next(Vbar.numbers))
        return self.resident[offset][1]

    def unpin(self, offset: int) -> None:
        self.pinned[offset] -= 1
        assert self.pinned[offset] >= 0, "released more often than held"

    def loaded_size(self) -> int:
        return sum(tensor.numel() for tensor, _ in self.resident.values())

    def free_memory(self, size: float) -> int:
        """Evict weights that are not in use until `size` bytes are free."""
        freed = 0
        for offset in list(self.resident):
            if freed >= size:
                break
            if self.pinned[offset] > 0:
                continue
            tensor, _ = self.resident.pop(offset)
            tensor.copy_(spoiled(len(tensor)))  # whoever still reads it gets nonsense
            freed += tensor.numel()
            Vbar.evicted[id(self)] += 1
        return freed

    @classmethod
    def make_room(cls, size: int) -> None:
        for vbar in cls.all:
            missing = sum(other.loaded_size() for other in cls.all) + size - cls.budget
            if missing > 0:
                vbar.free_memory(missing)

    def prioritize(self, *_: Any) -> None:
        pass


class Buffer:
    """A piece of the card's memory that casts share."""

    def __init__(self, size: int, device: Any):
        self.memory = spoiled(2**26)

    def size(self) -> int:
        return self.memory.numel()

    def get(self, size: int, offset: int = 0) -> tuple[Buffer, int, int]:
        return self, offset, size


class HostBuffer:
    """Pinned main memory, which a pretend card does not need."""

    def __init__(self, *_: Any):
        self.size = 0

    def truncate(self, *_: Any, **__: Any) -> None:
        pass


def tensor_of(place: tuple[Any, int, int], device: Any) -> torch.Tensor:
    """The bytes at a place."""
    owner, offset, size = place
    if isinstance(owner, Buffer):
        return CardTensor(owner.memory[offset : offset + size])
    held = owner.resident[offset][0]
    assert len(held) == size
    return CardTensor(held[:])


def turn_on_dynamic_vram(setattr_: Any, budget: int) -> None:
    import comfy.memory_management
    import comfy.model_patcher
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch
    import comfy_aimdo.vram_buffer
    from comfy.cli_args import args

    Vbar.budget, Vbar.all = budget, []
    Vbar.evicted.clear()
    setattr_(comfy.memory_management, "aimdo_enabled", True)
    setattr_(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcherDynamic)
    setattr_(args, "disable_pinned_memory", True)
    vbars = comfy_aimdo.model_vbar
    setattr_(vbars, "ModelVBAR", Vbar)
    setattr_(vbars, "vbar_fault", lambda place: place[0].fault(place[1], place[2]))
    setattr_(vbars, "vbar_unpin", lambda place: place and place[0].unpin(place[1]))
    setattr_(vbars, "vbar_signature_compare", lambda a, b: a is not None and a == b)
    setattr_(vbars, "vbars_analyze", lambda *_: sum(vbar.loaded_size() for vbar in Vbar.all))
    setattr_(comfy_aimdo.torch, "aimdo_to_tensor", tensor_of)
    setattr_(comfy_aimdo.vram_buffer, "VRAMBuffer", Buffer)
    setattr_(comfy_aimdo.host_buffer, "HostBuffer", HostBuffer)
