"""A pretend graphics card: tensors that compute on the CPU, say that they are on cuda:0, and fail where a card would.

    with Card() as card:
        model = ARModel.load("miniature", "cuda:0")
    card.syncs, card.uploads, card.launches

Values are real, so all control flow is followed. What a CPU hides and this shows:

- an operation on tensors of both devices raises Mixed;
- every value that the host reads (`.item()`, `.tolist()`, `.cpu()`, a mask as an index) is a synchronisation;
- every copy from main memory to the card is an upload;
- `bytes` and `peak` count the memory of what is held there;
- with `Stream`s in place of torch's, work on several streams that nothing orders is a race.

torch's C++ side sees tensors without content ("meta"); a mode of dispatch computes on what they stand for.
"""

from __future__ import annotations

import collections
import functools
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

DEVICE = torch.device("cuda:0")
CPU = torch.device("cpu")
aten = torch.ops.aten

# Composite operations that are one kernel, or two, on a card: they are not taken apart.
KERNELS = {
    aten.linear.default,
    aten.matmul.default,
    aten.scaled_dot_product_attention.default,
    aten.layer_norm.default,
    aten.rms_norm.default,
    aten.group_norm.default,
    aten.conv2d.default,
}
READS_ON_HOST = {
    "aten._local_scalar_dense.default",
    "aten.equal.default",
    "aten.is_nonzero.default",
    "aten.masked_select.default",
    "aten.nonzero.default",
    "aten._unique2.default",
}
COPIES = {"aten._to_copy.default", "aten.copy_.default"}
PUTS = {"aten.index.Tensor", "aten.index_put_.default", "aten._index_put_impl_.default"}


class Mixed(RuntimeError):
    """Tensors of the card and of main memory in one operation."""


class CardTensor(torch.Tensor):
    """A tensor on the card; `held` has its values, in main memory."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> CardTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="meta",
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    def __init__(self, held: torch.Tensor, requires_grad: bool = False):
        pass

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def is_pinned(self, *_: Any) -> bool:
        return False

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        assert Card.current is not None
        Card.current.synchronised("tolist")
        return self.held.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"CardTensor({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied: torch.Tensor = CardTensor(self.held.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data":
            if not isinstance(value, CardTensor):
                raise Mixed("a tensor of main memory was put into the place of one on the card")
            object.__setattr__(self, "held", value.held)
            torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
            return
        super().__setattr__(name, value)

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert Card.current is not None, f"{operation} on a card that is gone"
        return Card.current.run(operation, args, kwargs or {})


@functools.cache
def is_composite(operation: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")


def tensors_in(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


def place() -> str:
    """The innermost line of the project, or of ComfyUI, that is running."""
    for frame in reversed(traceback.extract_stack()):
        if any(part in frame.filename for part in ("/ar_core/", "/nodes/", "/comfy/")):
            return f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
    return "?"


class Card(TorchDispatchMode):
    """While it is entered, everything on "cuda:0" is pretended."""

    current: Card | None = None

    def __init__(self, size: int = 24 * 2**30) -> None:
        """`size`: bytes of memory; more than that is not refused, but said to be full."""
        super().__init__()
        self.size = size
        self.syncs: collections.Counter[str] = collections.Counter()  # by place
        self.uploads: collections.Counter[str] = collections.Counter()
        self.launches: collections.Counter[str] = collections.Counter()  # by operation
        self.bytes = 0
        self.peak = 0
        self.races: collections.Counter[str] = collections.Counter()
        self.memory = Memory(self)
        self._before: dict[str, Any] = {}
        self._depth = 0  # operations that are taken apart enter once more

    def __enter__(self) -> Card:
        self._depth += 1
        if self._depth > 1:
            return super().__enter__()
        Card.current = self
        self._before = {name: getattr(torch.cuda, name) for name in ("_lazy_init", "memory_stats", "mem_get_info")}
        torch.cuda._lazy_init = lambda: None
        torch.cuda.memory_stats = lambda *_: dict.fromkeys(
            ("reserved_bytes.all.current", "active_bytes.all.current"), 0
        )
        torch.cuda.mem_get_info = lambda *_: (self.size - self.bytes, self.size)
        torch._C._ensureCUDADeviceGuardSet()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._depth -= 1
        if self._depth:
            return
        torch._C._set_only_lift_cpu_tensors(False)
        for name, value in self._before.items():
            setattr(torch.cuda, name, value)

    def clear(self) -> None:
        """Forget what was counted."""
        for counter in (self.syncs, self.uploads, self.launches, self.races):
            counter.clear()
        self.peak = self.bytes

    def synchronised(self, what: str) -> None:
        self.syncs[f"{what} at {place()}"] += 1

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(operation, args, kwargs or {})

    def run(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation, on whatever device its tensors say they are."""
        name = str(operation)
        if name == "prim.device.default":
            return DEVICE
        args, kwargs, target = where_to(args, kwargs)
        given = tensors_in((args, kwargs))
        on_card = [tensor for tensor in given if isinstance(tensor, CardTensor)]
        if not on_card and target != DEVICE:
            return operation(*args, **kwargs)
        if operation not in KERNELS and is_composite(operation):
            with self:
                return operation.decompose(*args, **kwargs)
        self._check(name, given, on_card)
        self._count_traffic(name, args, target)
        if on_card and (name in READS_ON_HOST or (name in PUTS and has_mask(args[1]))):
            self.synchronised(name)
        result = operation(*unwrapped(args), **on_cpu(unwrapped(kwargs)))
        wrapped = self._wrapped(name, result, given, to_host=target == CPU and name in COPIES)
        self.memory.follow(operation, given, wrapped)
        if operation._schema.is_mutable or not shares_memory(result, given):
            self.launches[name.removeprefix("aten.")] += 1
        return wrapped

    def _check(self, name: str, given: list[torch.Tensor], on_card: list[CardTensor]) -> None:
        if not on_card or name in COPIES:
            return
        for tensor in given:
            is_number = tensor.dim() == 0  # an argument of the kernel
            is_index = name in PUTS and tensor is not given[0]
            if isinstance(tensor, CardTensor) or is_number or tensor.device.type == "meta":
                continue
            if is_index:
                self.uploads[f"index at {place()}"] += 1
                continue
            raise Mixed(f"{name} got tensors on cuda:0 and on {tensor.device}, at {place()}")

    def _count_traffic(self, name: str, args: Any, target: torch.device | None) -> None:
        if name == "aten._to_copy.default":
            if target == DEVICE and not isinstance(args[0], CardTensor):
                self.uploads[f"to at {place()}"] += 1
            if target == CPU and isinstance(args[0], CardTensor):
                self.synchronised("copy to main memory")
        if name == "aten.copy_.default":
            to, source = args[0], args[1]
            if isinstance(to, CardTensor) and not isinstance(source, CardTensor) and source.dim():
                self.uploads[f"copy_ at {place()}"] += 1
            if not isinstance(to, CardTensor) and isinstance(source, CardTensor):
                self.synchronised("copy_ to main memory")

    def _wrapped(self, name: str, result: Any, given: list[torch.Tensor], to_host: bool) -> Any:
        """`result` with tensors of the card in place of those that stand for them."""
        by_held = {id(tensor.held): tensor for tensor in given if isinstance(tensor, CardTensor)}
        storages = {tensor.untyped_storage()._cdata: tensor for tensor in given}

        def wrap(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if id(value) in by_held:
                return by_held[id(value)]  # changed in place
            if any(value is tensor for tensor in given):
                return value
            base = storages.get(value.untyped_storage()._cdata)
            if to_host:
                return value.clone() if base is not None else value
            if base is None:
                return CardTensor(value)
            with torch.inference_mode(base.is_inference()):  # a view is one if what it views is
                return CardTensor(value)

        return tree_map(wrap, result)


def where_to(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any], torch.device | None]:
    """The arguments, and the device that they ask for; "meta" comes from torch's C++ side and means the card."""
    leaves, spec = tree_flatten((args, kwargs))
    leaves = [DEVICE if isinstance(leaf, torch.device) and leaf.type == "meta" else leaf for leaf in leaves]
    args, kwargs = tree_unflatten(leaves, spec)
    asked = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    if not asked:
        return args, kwargs, None
    if asked[0].type == "cuda":
        return args, kwargs, DEVICE
    return args, kwargs, asked[0]


def unwrapped(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.held if isinstance(leaf, CardTensor) else leaf, tree)


def on_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: CPU if name == "device" and value == DEVICE else value for name, value in kwargs.items()}


def has_mask(indices: Any) -> bool:
    return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_in(indices))


def shares_memory(result: Any, given: list[torch.Tensor]) -> bool:
    """Whether all of `result` is views of what was given."""
    before = {tensor.untyped_storage()._cdata for tensor in given}
    return all(tensor.untyped_storage()._cdata in before for tensor in tensors_in(result))


# ---------------------------------------------------------------- memory and streams


class Stream:
    """In place of torch.cuda.Stream. `clock` says what of each stream has surely happened before its next operation."""

    def __init__(self, device: Any = None, priority: int = 0, name: str = ""):
        self.name = name or f"side {id(self) % 9973}"
        self.clock: collections.Counter[str] = collections.Counter()

    def tick(self) -> tuple[str, int]:
        self.clock[self.name] += 1
        return self.name, self.clock[self.name]

    def wait_stream(self, other: Stream) -> None:
        for name, moment in other.clock.items():
            self.clock[name] = max(self.clock[name], moment)

    def knows(self, event: tuple[str, int]) -> bool:
        name, moment = event
        return self.clock[name] >= moment

    def synchronize(self) -> None:
        Streams.main.wait_stream(self)

    cuda_stream = 0

    def __enter__(self) -> None:
        Streams.entered.append(self)

    def __exit__(self, *error: Any) -> None:
        Streams.entered.pop()


class Streams:
    """Which one is current."""

    main = Stream(name="main")
    entered: list[Stream] = []

    @classmethod
    def current(cls, device: Any = None) -> Stream:
        if cls.entered:
            return cls.entered[-1]
        return cls.main


class Block:
    """A piece of the card's memory: who wrote it last, and who has read it since."""

    def __init__(self, size: int, stream: str):
        self.size = size
        self.stream = stream
        self.written: tuple[str, int] | None = None
        self.read: list[tuple[str, int]] = []
        self.tensors = 0


class Memory:
    """All blocks in use.

    Freed ones are handed out again at once on the stream that made them, as torch's allocators do, whatever another
    stream still does with them.
    """

    def __init__(self, card: Card):
        self.card = card
        self.blocks: dict[int, Block] = {}
        self.free: dict[tuple[str, int], list[Block]] = collections.defaultdict(list)
        self.kept: dict[int, Any] = {}  # storages, so that no other gets their address

    def follow(self, operation: Any, given: list[torch.Tensor], result: Any) -> None:
        """Note what an operation made, read and wrote."""
        made = [tensor for tensor in tensors_in(result) if isinstance(tensor, CardTensor)]
        before = {tensor.untyped_storage()._cdata for tensor in given if isinstance(tensor, CardTensor)}
        fresh = [tensor for tensor in made if tensor.untyped_storage()._cdata not in before]
        for tensor in made:
            self._hold(tensor)
        if not operation._schema.is_mutable and not fresh:
            return  # a view
        for tensor in given:
            if isinstance(tensor, CardTensor):
                in_place = operation._schema.is_mutable and any(tensor is other for other in made)
                self._use(tensor, writes=in_place)
        for tensor in fresh:
            self._use(tensor, writes=True)

    def _hold(self, tensor: CardTensor) -> None:
        if getattr(tensor, "is_followed", False):
            return
        tensor.is_followed = True  # type: ignore[attr-defined]
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.blocks:
            stream = Streams.current()
            block = self.blocks[key] = Block(storage.nbytes(), stream.name)
            self.kept[key] = storage
            self.card.bytes += block.size
            self.card.peak = max(self.card.peak, self.card.bytes)
            self._reuse(block, stream)
        self.blocks[key].tensors += 1
        weakref.finalize(tensor, self._drop, key)

    def _reuse(self, block: Block, stream: Stream) -> None:
        waiting = self.free[stream.name, block.size]
        if not waiting:
            return
        former = waiting.pop(0)
        for event in [former.written, *former.read]:
            if event is not None and not stream.knows(event):
                self.card.races[f"{stream.name} takes memory that {event[0]} may still use"] += 1

    def _drop(self, key: int) -> None:
        block = self.blocks[key]
        block.tensors -= 1
        if block.tensors == 0:
            del self.blocks[key], self.kept[key]
            self.card.bytes -= block.size
            self.free[block.stream, block.size].append(block)

    def _use(self, tensor: CardTensor, writes: bool) -> None:
        block = self.blocks.get(tensor.untyped_storage()._cdata)
        if block is None:
            return
        stream = Streams.current()
        if block.written is not None and not stream.knows(block.written):
            self.card.races[f"{stream.name} uses what {block.written[0]} wrote, at {place()}"] += 1
        if writes:
            for event in block.read:
                if not stream.knows(event):
                    self.card.races[f"{stream.name} overwrites what {event[0]} reads, at {place()}"] += 1
            block.written, block.read = stream.tick(), []
        else:
            block.read = [event for event in block.read if event[0] != stream.name] + [stream.tick()]


Patch = Callable[[Any, str, Any], None]


def with_streams(setattr_: Patch) -> None:
    """Put the pretend streams in place of torch's, through a monkeypatch's `setattr`."""
    setattr_(torch.cuda, "Stream", Stream)
    setattr_(torch.cuda, "current_stream", Streams.current)
    setattr_(torch.cuda, "stream", lambda stream: stream)
    setattr_(torch.cuda, "synchronize", lambda *_: None)
    setattr_(torch.cuda, "empty_cache", lambda: None)
    setattr_(torch.cuda, "ipc_collect", lambda: None)
