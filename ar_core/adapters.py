"""Changes to the transformer's projections: trainable beside the frozen weights, weight changes afterwards.

While learning, an adapter adds its part to a projection's output through forward hooks: the base keeps its
weights, whatever class, dtype or device they have. Afterwards `change` gives each projection's difference,
which is added to a copy or handed to the host as a patch; beside quantised weights the hooks stay.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .transformer import Transformer

TARGETS = ("q_proj", "k_proj", "v_proj")  # what the paper fine-tunes in every layer


def target_names(config_layers: int, targets: tuple[str, ...] = TARGETS) -> list[str]:
    """Module names of the adapted projections, e.g. "model.layers.0.self_attn.q_proj"."""
    return [f"model.layers.{layer}.self_attn.{target}" for layer in range(config_layers) for target in targets]


class Adapter(nn.Module):
    """A set of parts, one per projection, keyed by the projection's module name."""

    method: str

    def part_output(self, name: str, x: Tensor) -> Tensor:
        """What is added to the projection's output for input x (..., in)."""
        raise NotImplementedError

    def change(self, name: str) -> Tensor:
        """The projection's weight difference (out, in), float32."""
        raise NotImplementedError

    def shape(self, name: str) -> tuple[int, int]:
        """(out, in) of the projection."""
        raise NotImplementedError

    def names(self) -> list[str]:
        raise NotImplementedError

    def file_tensors(self) -> dict[str, Tensor]:
        """The tensors of a personalization file."""
        raise NotImplementedError

    def frozen(self, device: torch.device, dtype: torch.dtype) -> Adapter:
        """A copy that stands ready where it is used: nothing is moved or converted in every step."""
        return copy.deepcopy(self).to(device, dtype).requires_grad_(False)


class LowRankAdapter(Adapter):
    """LoRA (Hu et al. 2021): W + alpha / rank · B A, with B starting at zero."""

    method = "lora"

    def __init__(self, shapes: dict[str, tuple[int, int]], rank: int, alpha: float | None = None, device=None):
        super().__init__()
        self.rank, self.alpha = rank, float(alpha or rank)
        self._names = list(shapes)
        self.down = nn.ParameterList(
            nn.Parameter(torch.empty(rank, shape[1], device=device)) for shape in shapes.values()
        )
        self.up = nn.ParameterList(
            nn.Parameter(torch.zeros(shape[0], rank, device=device)) for shape in shapes.values()
        )

    @classmethod
    def fresh(cls, transformer: Transformer, rank: int, seed: int) -> LowRankAdapter:
        """A new adapter for `transformer`: no change yet; A is drawn from `seed` on the CPU."""
        adapter = cls(target_shapes(transformer), rank, device=transformer.compute_device)
        generator = torch.Generator().manual_seed(seed)
        for a in adapter.down:
            bound = 1 / math.sqrt(a.shape[1])  # peft's: kaiming uniform with a = sqrt(5)
            a.data.copy_(torch.empty(a.shape).uniform_(-bound, bound, generator=generator))
        return adapter

    def part_output(self, name, x):
        index = self._names.index(name)
        a, b = self.down[index].to(x.dtype), self.up[index].to(x.dtype)
        return F.linear(F.linear(x, a), b) * (self.alpha / self.rank)

    def change(self, name):
        down, up = self.matrices(name)
        return (up @ down) * (self.alpha / self.rank)

    def matrices(self, name: str) -> tuple[Tensor, Tensor]:
        """A (rank, in) and B (out, rank)."""
        index = self._names.index(name)
        return self.down[index].data, self.up[index].data

    def shape(self, name):
        down, up = self.matrices(name)
        return up.shape[0], down.shape[1]

    def names(self):
        return list(self._names)

    def file_tensors(self):
        tensors = {}
        for name, a, b in zip(self._names, self.down, self.up):
            tensors[f"base_model.model.{name}.lora_A.weight"] = a.data
            tensors[f"base_model.model.{name}.lora_B.weight"] = b.data
        return tensors

    @classmethod
    def from_file_tensors(cls, tensors: dict[str, Tensor], alpha: float) -> LowRankAdapter:
        prefix, suffix = "base_model.model.", ".lora_A.weight"
        names = [k.removeprefix(prefix).removesuffix(suffix) for k in tensors if k.endswith(suffix)]
        pairs = {n: (tensors[f"{prefix}{n}{suffix}"], tensors[f"{prefix}{n}.lora_B.weight"]) for n in names}
        rank = next(iter(pairs.values()))[0].shape[0]
        adapter = cls({n: (b.shape[0], a.shape[1]) for n, (a, b) in pairs.items()}, rank, alpha)
        for index, (a, b) in enumerate(pairs.values()):
            adapter.down[index].data, adapter.up[index].data = a.float(), b.float()
        return adapter


class DeltaAdapter(Adapter):
    """The full q, k and v of the paper, as a float32 difference to the frozen base.

    Training the difference with Adam is training float32 master weights: the gradients are the same.
    """

    method = "full"

    def __init__(self, shapes: dict[str, tuple[int, int]], device=None):
        super().__init__()
        self._names = list(shapes)
        self.delta = nn.ParameterList(nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes.values())

    @classmethod
    def fresh(cls, transformer: Transformer) -> DeltaAdapter:
        return cls(target_shapes(transformer), transformer.compute_device)

    def part_output(self, name, x):
        return F.linear(x, self.delta[self._names.index(name)].to(x.dtype))

    def change(self, name):
        return self.delta[self._names.index(name)].data

    def shape(self, name):
        return tuple(self.change(name).shape)

    def names(self):
        return list(self._names)

    def file_tensors(self):
        return {f"delta.{name}.weight": delta.data for name, delta in zip(self._names, self.delta)}

    @classmethod
    def from_file_tensors(cls, tensors: dict[str, Tensor]) -> DeltaAdapter:
        found = {
            k.removeprefix("delta.").removesuffix(".weight"): v for k, v in tensors.items() if k.startswith("delta.")
        }
        adapter = cls({name: tuple(v.shape) for name, v in found.items()})
        for parameter, value in zip(adapter.delta, found.values()):
            parameter.data = value.float()
        return adapter


def target_shapes(transformer: Transformer) -> dict[str, tuple[int, int]]:
    """(out, in) of every projection that is adapted."""
    return {
        name: (module.out_features, module.in_features)
        for name in target_names(transformer.config.num_hidden_layers)
        for module in [transformer.get_submodule(name)]
    }


@contextmanager
def attached(transformer: Transformer, adapter: Adapter | None, strength: float = 1.0) -> Iterator[None]:
    """While this lasts, `transformer` computes with the adapter; its weights are not touched. May be nested."""
    handles = []
    for name in adapter.names() if adapter else []:

        def add(module, inputs, output, name=name):
            return output + strength * adapter.part_output(name, inputs[0]).to(output.dtype)

        handles.append(transformer.get_submodule(name).register_forward_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def merged(transformer: Transformer, changes: list[tuple[Adapter, float]]) -> Transformer:
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
