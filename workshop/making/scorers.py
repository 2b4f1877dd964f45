"""The two networks that stand where DINO and CLIP stand in DreamBench, and what they learn from."""

from __future__ import annotations

import random
from dataclasses import replace
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

from ..world.captions import TEMPLATES, WITH_ARTICLE, with_article
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Scene, with_subject
from ..world.vocabulary import PLACES
from ..world.words import training_captions
from .lessons import SIDE, blurred_like_decoded, identity_lesson, scene_attributes
from .losses import info_nce, pair_loss

BATCH = 64  # pictures per lesson
ALIKE = 4  # scenes in a group that shares most of what its captions say
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

    def lesson(self, step: int, seed: int) -> tuple[Tensor, ...]:
        """What `loss` takes at a step."""
        return identity_lesson(step, seed)


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
        no_negatives = true & ~torch.eye(len(true), dtype=torch.bool)
        return info_nce(similarities.masked_fill(no_negatives, -1e4))

    def lesson(self, step: int, seed: int) -> tuple[Tensor, ...]:
        """Pictures, token ids, their mask, and which captions are true of which pictures."""
        rng = random.Random(f"pairs {seed} {step}")
        scenes = [scene for _ in range(BATCH // ALIKE) for scene in similar_scenes(rng)]
        sentences = []
        claims = []
        for scene in scenes:
            sentence, claimed = partial_caption(rng, scene)
            sentences.append(sentence)
            claims.append(claimed)
        facts = [scene_attributes(scene) | further_attributes(scene) for scene in scenes]
        true = torch.tensor([[claimed.items() <= fact.items() for claimed in claims] for fact in facts])
        words = self.tokenizer(sentences, padding=True, return_tensors="pt")
        pictures = torch.stack(
            [SCORER_INPUT.pixels(blurred_like_decoded(rng, draw_scene(scene, SIDE))) for scene in scenes]
        )
        return pictures, words["input_ids"], words["attention_mask"], true


def similar_scenes(rng: random.Random) -> list[Scene]:
    """Scenes that differ from the first in one thing each: what a caption must be read for."""
    first = random_scene(rng, held_out=None)
    found = [first]
    while len(found) < ALIKE:
        other = random_scene(rng, held_out=None)
        subject = first.subject
        changed = rng.choice(("place", "kind", "subject", "accessory"))
        if changed == "place":
            found.append(with_subject(other, subject))
        elif changed == "kind" and not subject.accessory:
            same = replace(subject, kind=other.subject.kind)
            found.append(replace(with_subject(other, same), place=first.place))
        elif changed == "subject":
            found.append(replace(other, place=first.place))
        elif changed == "accessory" and other.subject.accessory and subject.accessory:
            new = {name: getattr(other.subject, name) for name in ("accessory", "accessory_colour", "accessory_words")}
            found.append(replace(with_subject(other, replace(subject, **new)), place=first.place))
    return found


def partial_caption(rng: random.Random, scene: Scene) -> tuple[str, dict[str, str]]:
    """A sentence that says some of what is true of a scene, and what it says, by attribute."""
    subject = scene.subject
    facts = scene_attributes(scene) | further_attributes(scene)
    said = ["class"]
    noun = subject.kind
    tail = ""
    if rng.random() < 0.6:
        said += ["colour", "pattern", "words"]
        noun = f"{subject.words} {subject.kind}"
    elif rng.random() < 0.4:
        said.append("colour")
        noun = f"{facts['colour']} {subject.kind}"
    if subject.accessory and rng.random() < 0.7:
        said += ["accessory", "worn"]
        tail = f" wearing {subject.accessory_words}"
    if rng.random() < 0.75:
        said.append("place")
        tail += f" {PLACES[scene.place]}"
    sentence = with_article(noun)
    if rng.random() < 0.3:
        template = rng.choice(TEMPLATES)
        if template in WITH_ARTICLE:
            sentence = noun
        sentence = template.format(sentence)
    return sentence + tail, {name: facts[name] for name in said}


def further_attributes(scene: Scene) -> dict[str, str]:
    """What `scene_attributes` leaves out: all the adjectives, and the accessory's colour."""
    return {"words": scene.subject.words, "worn": scene.subject.accessory_words}


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
