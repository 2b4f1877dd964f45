"""The same random weights in transformers' Chameleon and in our transformer, and a step of each."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_core import layers
from ar_core.adapters import LowRankAdapter, attach_adapter
from ar_core.architecture import TransformerConfig
from ar_core.control import Cancelled
from ar_core.families.lumina_mgpt import LUMINA_512
from ar_core.sampling import SamplingSettings, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.rule import code_probabilities, draw_code, guide
from ar_core.sampling.settings import code_uniforms
from ar_core.training.examples import Batch, make_training_batch
from ar_core.training.loss import image_code_loss
from ar_core.transformer import Transformer

from ..random_checkpoint import protocol_of
from .machine import seconds_when_finished
from .timing import Stopwatch
from .upstream import CONFIG, PROMPT

RANK = 64
RATE = 1e-4
PIXELS = 512


class MissingPackage(RuntimeError):
    """transformers' Chameleon or peft is not installed."""


@dataclass
class Peers:
    """One model twice, in one dtype, with a LoRA on each."""

    chameleon: Any  # transformers' ChameleonForConditionalGeneration
    peft: Any  # the same with peft's LoRA
    transformer: Transformer
    adapter: LowRankAdapter
    batch: Batch

    @classmethod
    def random(cls, device: torch.device, dtype: torch.dtype, dimensions: TransformerConfig = CONFIG) -> Peers:
        """With Lumina's vocabulary. Raises MissingPackage."""
        try:
            from peft import LoraConfig, get_peft_model
            from transformers import ChameleonConfig, ChameleonForConditionalGeneration
        except ImportError as error:
            raise MissingPackage(f"The comparison needs transformers and peft ({error}): pip install peft") from error
        torch.manual_seed(0)
        config = ChameleonConfig(
            vocab_size=dimensions.vocab_size,
            hidden_size=dimensions.hidden_size,
            intermediate_size=dimensions.intermediate_size,
            num_hidden_layers=dimensions.num_hidden_layers,
            num_attention_heads=dimensions.num_attention_heads,
            num_key_value_heads=dimensions.num_key_value_heads,
            max_position_embeddings=4096,
            rms_norm_eps=dimensions.rms_norm_eps,
            vq_config={"base_channels": 32, "num_res_blocks": 1, "resolution": 32, "channel_multiplier": [1]},
            vocabulary_map={"<image>": 4},
        )
        with torch.device(device):  # of full size it must never be in main memory, nor in 32 bits
            before = torch.get_default_dtype()
            torch.set_default_dtype(dtype)
            try:
                chameleon: Any = ChameleonForConditionalGeneration(config)
            finally:
                torch.set_default_dtype(before)
        chameleon = chameleon.to(dtype).eval().requires_grad_(False)
        transformer = _ours(chameleon, dimensions, dtype)
        peft_config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["q_proj", "k_proj", "v_proj"])
        shared = {id(parameter): parameter for parameter in chameleon.parameters()}
        twin = copy.deepcopy(chameleon, shared)  # decoding shall not run through peft's layers
        peft = get_peft_model(twin, peft_config)
        adapter = LowRankAdapter.fresh(transformer, RANK, 0)
        return cls(chameleon, peft, transformer, adapter, _pair())

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    # ---------------------------------------------------------------- decoding

    def ours(self, codes: int) -> float:
        """Seconds per code."""
        watch = Stopwatch(self.device, codes)
        with suppress(Cancelled):  # the measurement ends before the picture
            sequential.decode_sequentially(self.engine(), SETTINGS, progress=watch.tick, cancel=watch.finished)
        return watch.seconds

    def engine(self) -> Engine:
        protocol = protocol_of(LUMINA_512)
        prompt = PROMPT + protocol.header(SETTINGS.size)
        return Engine(self.transformer, protocol, [prompt], SETTINGS.size, SETTINGS.cfg)

    @torch.inference_mode()
    def theirs(self, codes: int, static: bool) -> float:
        """Seconds per code of the loop over transformers' model."""
        watch = Stopwatch(self.device, codes)
        loop = Loop(self.chameleon, static)
        numbers = code_uniforms(0, 0, codes).to(self.device)
        layout = protocol_of(LUMINA_512).layout(SETTINGS.size)
        row_end = layout.row_end or 0  # this family has one
        logits = loop.prefill()
        for index in range(codes):
            code = draw_code(code_probabilities(logits, SETTINGS.top_k, SETTINGS.temperature), numbers[index])
            watch.tick(index + 1)
            if index + 1 < codes:
                tokens = [code + CONFIG.head_first]
                if (index + 1) % layout.columns == 0:
                    tokens.append(torch.full_like(code, row_end))
                logits = loop.advance(torch.stack(tokens))
        return watch.seconds

    @torch.inference_mode()
    def disagreement_of_logits(self, steps: int = 3) -> float:
        """Largest difference of guided logits over the first steps, in their standard deviations."""
        engine = self.engine()
        loops = [Loop(self.chameleon, static) for static in (False, True)]
        worst = 0.0
        ours = engine.prefill()[0]
        theirs = [loop.prefill() for loop in loops]
        for step in range(steps):
            worst = max(worst, *(float((ours - other).abs().max() / other.std()) for other in theirs))
            token = torch.tensor([CONFIG.head_first + 1000 * step], device=self.device)
            ours = engine.advance(token[None])[0, -1]
            theirs = [loop.advance(token) for loop in loops]
        return worst

    # ---------------------------------------------------------------- training

    def our_step(self) -> float:
        """Seconds of one step; the optimizer goes from parameter to parameter, as our training loop's does."""
        return self._step_seconds(list(self.adapter.parameters()), self.our_loss, foreach=False)

    def peft_step(self) -> float:
        """Seconds of one step; the optimizer is torch's as it comes."""
        learned = [parameter for parameter in self.peft.parameters() if parameter.requires_grad]
        return self._step_seconds(learned, self.peft_loss, foreach=None)

    def _step_seconds(
        self, learned: list[torch.nn.Parameter], loss: Callable[[], Tensor], foreach: bool | None
    ) -> float:
        optimizer = torch.optim.AdamW(learned, lr=RATE, foreach=foreach)
        start = seconds_when_finished(self.device)
        loss().backward()
        optimizer.step()
        taken = seconds_when_finished(self.device) - start
        optimizer.zero_grad()
        return taken

    def our_loss(self) -> Tensor:
        with attach_adapter(self.transformer, self.adapter):
            return image_code_loss(self.transformer, self.batch, None)

    def peft_loss(self) -> Tensor:
        """Cross-entropy of the codes over the whole vocabulary; others are ignored."""
        model = self.peft.get_base_model()
        hidden = model.model(input_ids=self.batch.ids.to(self.device), use_cache=False)[0]
        logits = model.lm_head(hidden).float()
        targets = self.batch.targets.to(self.device)
        labels = torch.where(targets >= 0, targets + CONFIG.head_first, -100)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def disagreement_of_loss(self) -> float:
        """Both over the image codes alone: the whole vocabulary's normaliser is left out of theirs here."""
        model = self.peft.get_base_model()
        with torch.no_grad():
            hidden = model.model(input_ids=self.batch.ids.to(self.device), use_cache=False)[0]
            logits = model.lm_head(hidden)[..., CODES].float()
            targets = self.batch.targets.to(self.device)
            theirs = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
            return abs(float(theirs - self.our_loss()))


CODES = slice(CONFIG.head_first, CONFIG.head_first + CONFIG.head_size)
SETTINGS = SamplingSettings.resolve(LUMINA_512, size=(PIXELS, PIXELS), window=1)


class Loop:
    """Decoding with transformers: the prompt and its unguided row in one batch, padded on the left."""

    def __init__(self, model: Any, static: bool):
        from transformers import DynamicCache, StaticCache

        self.model = model
        self.device = model.device
        self.protocol = protocol_of(LUMINA_512)
        header = self.protocol.header(SETTINGS.size)
        self.rows = (PROMPT + header, header)
        longest = max(map(len, self.rows))
        self.slots = longest + self.protocol.layout(SETTINGS.size).padded_length
        if static:
            self.cache: Any = StaticCache(config=model.config, max_cache_len=self.slots)
        else:
            self.cache = DynamicCache(config=model.config)
        self.cache_name = "past_key_values"
        if "cache" in inspect.signature(type(model.model).forward).parameters:  # from 5.2x on
            self.cache_name = "cache"
        self.mask = torch.zeros(2, self.slots, dtype=torch.long, device=self.device)
        for row, ids in enumerate(self.rows):
            self.mask[row, longest - len(ids) :] = 1
        self.lengths = torch.tensor([[len(ids)] for ids in self.rows], device=self.device)
        self.longest = longest

    def prefill(self) -> Tensor:
        """Guided logits of the first code (codes)."""
        padded = [[0] * (self.longest - len(ids)) + ids for ids in self.rows]
        positions = (self.mask[:, : self.longest].cumsum(1) - 1).clamp_min(0)
        return self._forward(torch.tensor(padded, device=self.device), positions)

    def advance(self, tokens: Tensor) -> Tensor:
        """Append `tokens` (T) to both rows; guided logits after the last (codes)."""
        tokens = tokens.flatten()
        positions = self.lengths + torch.arange(len(tokens), device=self.device)
        self.longest += len(tokens)
        self.lengths = self.lengths + len(tokens)
        return self._forward(tokens.expand(2, -1), positions)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        hidden = self.model.model(
            input_ids=ids,
            attention_mask=self.mask[:, : self.longest],
            position_ids=positions,
            use_cache=True,
            **{self.cache_name: self.cache},
        )[0]
        logits = self.model.lm_head(hidden[:, -1])[:, CODES].float()
        return guide(logits[0], logits[1], SETTINGS.cfg)


def _ours(chameleon: Any, dimensions: TransformerConfig, dtype: torch.dtype) -> Transformer:
    """Our transformer with the very tensors of transformers' model."""
    weights = {name: value for name, value in chameleon.state_dict().items() if not name.startswith("model.vqmodel")}
    weights["image_head.weight"] = weights.pop("lm_head.weight")[CODES].clone()
    config = replace(dimensions, qk_norm_groups=dimensions.num_attention_heads)
    transformer = Transformer(config, operations=layers, device="meta", dtype=dtype)
    transformer.load_state_dict(weights, assign=True)
    return transformer.requires_grad_(False).eval()


def _pair() -> Batch:
    """One picture of random codes behind a prompt."""
    protocol = protocol_of(LUMINA_512)
    rows, columns = protocol.grid(SETTINGS.size)
    codes = torch.randint(0, protocol.codes, (rows, columns), generator=torch.Generator().manual_seed(1))
    return make_training_batch([(PROMPT + protocol.header(SETTINGS.size), codes)], protocol, SETTINGS.size)
