"""The two networks that stand where DINO and CLIP stand in DreamBench, and what they learn from."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (  # type: ignore[attr-defined]  # its types lack the tokenizer
    CLIPConfig,
    CLIPModel,
    CLIPTokenizerFast,
    ViTConfig,
    ViTModel,
)

from ar_core.dreambench.encoders import SCORER_INPUT
from ar_core.files import write_text

from ..world.drawing import draw_scene
from ..world.words import training_captions
from .alike_scenes import ALIKE, alike_scenes
from .lessons import identity_lesson
from .loop import Lesson
from .losses import info_nce, pair_loss
from .sentences import is_true, known_of, partial_statement, sentence_of
from .softness import SIDE, blurred_like_decoded

BATCH = 64  # pictures per lesson
VISION: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "image_size": SIDE,
    "patch_size": 8,
}
READING: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "max_position_embeddings": 40,
}
TOKENS = 600
START = "<|startoftext|>"
END = "<|endoftext|>"


class IdentityScorer(nn.Module):
    """A ViT whose CLS output is close for pictures of one subject."""

    def __init__(self) -> None:
        super().__init__()
        config = ViTConfig(**VISION, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.vit: Any = ViTModel(config, add_pooling_layer=False)

    def loss(self, pictures: Tensor) -> Tensor:
        """`pictures` (B, 3, SIDE, SIDE) in 0..1, of which 2i and 2i + 1 show one subject."""
        output = self.vit(pixel_values=SCORER_INPUT.normalised(pictures))
        return pair_loss(F.normalize(output.last_hidden_state[:, 0], dim=-1))

    @property
    def lesson(self) -> Lesson:
        """What `loss` takes, by step and seed."""
        return identity_lesson


class PairScorer(nn.Module):
    """A CLIP of pictures and sentences, which are read through a tokenizer in CLIP's format."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        names = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
        self.tokenizer = CLIPTokenizerFast(tokenizer_object=tokenizer, **names)
        ids = {
            "vocab_size": len(self.tokenizer),
            "bos_token_id": self.tokenizer.bos_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
        }
        config = CLIPConfig(text_config={**READING, **ids}, vision_config=VISION, projection_dim=96)
        self.clip: Any = CLIPModel(config)

    def loss(self, pictures: Tensor, ids: Tensor, mask: Tensor, true: Tensor) -> Tensor:
        """`true` (B, B): whether caption j happens to be right about picture i; such pairs are no negatives."""
        pixels = SCORER_INPUT.normalised(pictures)
        images = self.clip.visual_projection(self.clip.vision_model(pixel_values=pixels).pooler_output)
        texts = self.clip.text_projection(self.clip.text_model(input_ids=ids, attention_mask=mask).pooler_output)
        scale = self.clip.logit_scale.exp().clamp_max(50)
        similarities = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T  # (B, B)
        no_negatives = true & ~torch.eye(len(true), dtype=torch.bool, device=true.device)
        return info_nce(similarities.masked_fill(no_negatives, -1e4))

    @property
    def lesson(self) -> Lesson:
        """What `loss` takes, by step and seed."""
        return partial(sentences_lesson, self.tokenizer)


def sentences_lesson(tokenizer: CLIPTokenizerFast, step: int, seed: int) -> tuple[Tensor, ...]:
    """Pictures, token ids, their mask, and which captions are true of which pictures."""
    rng = random.Random(f"pairs {seed} {step}")
    scenes = [scene for _ in range(BATCH // ALIKE) for scene in alike_scenes(rng)]
    statements = [partial_statement(rng, scene) for scene in scenes]
    sentences = [sentence_of(rng, statement) for statement in statements]
    known = [known_of(scene) for scene in scenes]
    true = torch.tensor([[is_true(statement, scene) for statement in statements] for scene in known])
    words = tokenizer(sentences, padding=True, return_tensors="pt")
    pictures = torch.stack(
        [SCORER_INPUT.pixels(blurred_like_decoded(rng, draw_scene(scene, SIDE))) for scene in scenes]
    )
    return pictures, words["input_ids"], words["attention_mask"], true


def learn_tokenizer() -> Tokenizer:
    """A BPE in CLIP's format: word ends are marked, START before and END behind every sentence.

    Not always the same: where two pairs of tokens are equally frequent, the library's choice varies.
    """
    raw = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    # A sequence of one: transformers before 5 takes a CLIP tokenizer for an outdated one where there is no sequence.
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    learner = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[START, END],
        end_of_word_suffix="</w>",
        show_progress=False,
        initial_alphabet=[chr(c) for c in range(33, 127)],
    )
    raw.train_from_iterator((text.lower() for text in training_captions(20000)), learner)
    pairs = [(name, raw.token_to_id(name)) for name in (START, END)]
    raw.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=pairs)
    return raw


def kept_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of the training in `folder`, learned where there is none: it belongs to the checkpoint."""
    path = folder / "pairs_tokenizer.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, learn_tokenizer().to_str())
    return Tokenizer.from_file(str(path))
