"""Adapters: what training changes in the transformer's projections.

While training, an adapter is unmerged: forward hooks add its output to the projection's, and the base keeps its
weights, whatever class, dtype or device they have. Afterwards `change` gives the difference of each projection's
weight, which is merged into a copy or handed to the host as a patch. Quantised weights cannot take it: on those the
adapter stays unmerged.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .transformer import Transformer

# The paper fine-tunes "transformer layers"; 1610.6M trained parameters are reported for it, exactly these of the 7B.
TARGETS = ("q_proj", "k_proj", "v_proj")
PEFT_PREFIX = "base_model.model."  # of peft's keys

Shape = tuple[int, int]  # (out, in) of a projection's weight


class Adapter(nn.Module):
    """A trainable part for every adapted projection, found by the projection's module name."""

    method: str  # the word in settings and files

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self._index = {name: index for index, name in enumerate(names)}

    def names(self) -> list[str]:
        """Module names of the adapted projections."""
        return list(self._index)

    def output(self, name: str, x: Tensor) -> Tensor:
        """What is added to the projection's output (..., out) for its input `x` (..., in)."""
        raise NotImplementedError

    def change(self, name: str) -> Tensor:
        """The difference of the projection's weight (out, in), float32."""
        raise NotImplementedError

    def shape(self, name: str) -> Shape:
        """(out, in) of the projection."""
        raise NotImplementedError

    def file_tensors(self) -> dict[str, Tensor]:
        """The tensors of a personalization file."""
        raise NotImplementedError

    def frozen(self, device: torch.device, dtype: torch.dtype) -> Adapter:
        """A copy for sampling, on its device and in its dtype, so that no step moves or converts anything."""
        return copy.deepcopy(self).to(device, dtype).requires_grad_(False)


class LowRankAdapter(Adapter):
    """LoRA (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank · B A, with B starting at zero."""

    method = "lora"

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        rank: int,
        alpha: float | None = None,
        device: torch.device | None = None,
    ):
        """`shapes` by projection name; `alpha` None is the rank. A is uninitialised."""
        super().__init__(list(shapes))
        self.rank = rank
        self.alpha = float(rank if alpha is None else alpha)
        self.down = nn.ParameterList()  # A (rank, in)
        self.up = nn.ParameterList()  # B (out, rank)
        to: dict[str, Any] = {"device": device or "cpu", "dtype": torch.float32}
        for outputs, inputs in shapes.values():
            self.down.append(nn.Parameter(torch.empty(rank, inputs, **to)))
            self.up.append(nn.Parameter(torch.zeros(outputs, rank, **to)))

    @classmethod
    def fresh(cls, transformer: Transformer, rank: int, seed: int) -> LowRankAdapter:
        """A new adapter for `transformer` that changes nothing yet; A is drawn from `seed` on the CPU."""
        adapter = cls(target_shapes(transformer), rank, device=transformer.device)
        generator = torch.Generator().manual_seed(seed)
        for a in adapter.down:
            bound = 1 / math.sqrt(a.shape[1])  # peft's: kaiming uniform with a = sqrt(5)
            a.data.copy_(
                torch.empty(a.shape, dtype=torch.float32, device="cpu").uniform_(-bound, bound, generator=generator)
            )
        return adapter

    def output(self, name: str, x: Tensor) -> Tensor:
        index = self._index[name]
        a = self.down[index].to(x.dtype)
        b = self.up[index].to(x.dtype)
        return F.linear(F.linear(x, a), b) * (self.alpha / self.rank)

    def change(self, name: str) -> Tensor:
        down, up = self.matrices(name)
        return (up @ down) * (self.alpha / self.rank)

    def matrices(self, name: str) -> tuple[Tensor, Tensor]:
        """A (rank, in) and B (out, rank)."""
        index = self._index[name]
        return self.down[index].data, self.up[index].data

    def shape(self, name: str) -> Shape:
        index = self._index[name]
        return self.up[index].shape[0], self.down[index].shape[1]

    def file_tensors(self) -> dict[str, Tensor]:
        tensors = {}
        for name, a, b in zip(self.names(), self.down, self.up, strict=True):
            tensors[f"{PEFT_PREFIX}{name}.lora_A.weight"] = a.data
            tensors[f"{PEFT_PREFIX}{name}.lora_B.weight"] = b.data
        return tensors

    @classmethod
    def from_file_tensors(cls, tensors: Mapping[str, Tensor], alpha: float) -> LowRankAdapter:
        """The inverse of `file_tensors`. Raises ValueError for an A or a B alone, and for other ranks or none."""
        downs = _matrices_of(tensors, ".lora_A.weight")
        ups = _matrices_of(tensors, ".lora_B.weight")
        if not downs and not ups:
            raise ValueError("it holds no matrices of a LoRA")
        alone = sorted(downs.keys() ^ ups.keys())
        if alone:
            raise ValueError(f"of {alone[0]} it holds A or B alone")
        if any(value.ndim != 2 or not value.numel() for value in (*downs.values(), *ups.values())):
            raise ValueError("A and B must be matrices")
        shapes = {name: (ups[name].shape[0], down.shape[1]) for name, down in downs.items()}
        rank = next(iter(downs.values())).shape[0]
        for name, down in downs.items():
            if down.shape[0] != rank or ups[name].shape[1] != rank:
                raise ValueError(f"A and B of {name} are not of rank {rank}")
        adapter = cls(shapes, rank, alpha)
        for index, name in enumerate(downs):
            adapter.down[index].data = downs[name]
            adapter.up[index].data = ups[name]
        return adapter


def _matrices_of(tensors: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """What is stored under this ending of peft's keys, by projection, float32."""
    return {
        key.removeprefix(PEFT_PREFIX).removesuffix(suffix): value.float()
        for key, value in tensors.items()
        if key.endswith(suffix)
    }


class DeltaAdapter(Adapter):
    """The full q, k and v of the paper, as a float32 difference to the frozen base.

    Training the difference with Adam is training float32 master weights: the gradients are the same.
    """

    method = "full"

    def __init__(self, shapes: Mapping[str, Shape], device: torch.device | None = None):
        super().__init__(list(shapes))
        to: dict[str, Any] = {"device": device or "cpu", "dtype": torch.float32}
        self.delta = nn.ParameterList(nn.Parameter(torch.zeros(shape, **to)) for shape in shapes.values())

    @classmethod
    def fresh(cls, transformer: Transformer) -> DeltaAdapter:
        """A new adapter for `transformer` that changes nothing yet."""
        return cls(target_shapes(transformer), transformer.device)

    def output(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.delta[self._index[name]].to(x.dtype))

    def change(self, name: str) -> Tensor:
        return self.delta[self._index[name]].data

    def shape(self, name: str) -> Shape:
        delta = self.change(name)
        return delta.shape[0], delta.shape[1]

    def file_tensors(self) -> dict[str, Tensor]:
        return {f"delta.{name}.weight": delta.data for name, delta in zip(self.names(), self.delta, strict=True)}

    @classmethod
    def from_file_tensors(cls, tensors: Mapping[str, Tensor]) -> DeltaAdapter:
        """The inverse of `file_tensors`."""
        prefix = "delta."
        deltas = {}
        for key, value in tensors.items():
            if key.startswith(prefix):
                if value.ndim != 2:
                    raise ValueError(f"{key} is no matrix")
                deltas[key.removeprefix(prefix).removesuffix(".weight")] = value.float()
        if not deltas:
            raise ValueError("it holds no delta")
        adapter = cls({name: (delta.shape[0], delta.shape[1]) for name, delta in deltas.items()})
        for parameter, delta in zip(adapter.delta, deltas.values(), strict=True):
            parameter.data = delta
        return adapter


def target_names(layers: int, targets: Sequence[str] = TARGETS) -> list[str]:
    """Module names of the adapted projections of so many layers, e.g. "model.layers.0.self_attn.q_proj"."""
    return [f"model.layers.{layer}.self_attn.{target}" for layer in range(layers) for target in targets]


def target_shapes(transformer: Transformer) -> dict[str, Shape]:
    """(out, in) of every projection that is adapted. Quantised projections know them too."""
    shapes = {}
    for name in target_names(transformer.config.num_hidden_layers):
        projection = cast(nn.Linear, transformer.get_submodule(name))
        shapes[name] = (projection.out_features, projection.in_features)
    return shapes


@contextmanager
def attach_adapter(transformer: Transformer, adapter: Adapter | None, strength: float = 1.0) -> Iterator[None]:
    """While this lasts, `transformer` computes with the unmerged adapter; its weights stay. May be nested."""
    handles = []
    if adapter is not None:
        for name in adapter.names():
            projection = transformer.get_submodule(name)
            handles.append(projection.register_forward_hook(_adding(adapter, name, strength)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(adapter: Adapter, name: str, strength: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """A forward hook that adds the adapter's output to the projection's."""

    def hook(projection: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + strength * adapter.output(name, inputs[0]).to(output.dtype)

    return hook


def merge_adapters(transformer: Transformer, changes: Sequence[tuple[Adapter, float]]) -> Transformer:
    """A transformer with every adapter's change added at its strength.

    Shares all parameters that do not change with `transformer`, which stays as it is.
    """
    weights = dict(transformer.named_parameters())
    for adapter, strength in changes:
        for name in adapter.names():
            old = weights[f"{name}.weight"]
            new = old.float() + strength * adapter.change(name).to(old.device)
            weights[f"{name}.weight"] = nn.Parameter(new.to(old.dtype), requires_grad=False)
    result = Transformer(transformer.config, operations=transformer.operations, device="meta")
    result.load_state_dict(weights, assign=True)
    return result.requires_grad_(False).eval()
