"""Trains the miniature's own scorers and writes them in transformers' formats:

    python -m workshop.making.scorer_training --folder runs/miniature

- `identity`: a ViT whose CLS output is close for pictures of one subject at different places (InfoNCE, van den Oord et al.
  2018). Other places, poses and sometimes a missing accessory on one side: a copied backdrop earns nothing.
- `pairs`: a CLIP-shaped text-image encoder (Radford et al. 2021).

Both learn from drawings with the softness of decoded ones. They stand where DINO and CLIP stand in DreamBench, so that
scoring works without a download; their numbers compare with nothing published. Stopped trainings go on from `folder`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast, PreTrainedTokenizerFast, ViTConfig, ViTModel

from ar_core.dreambench.encoders import MINIATURE_SCORERS, SCORER_INPUT

from ..evaluation.judges import SIDE, answers, blurred, identity_lesson
from ..world.drawing import draw
from ..world.scenes import PLACES, TEMPLATES, Scene, random_scene, with_article
from ..world.words import captions
from .small_training import train_small

STEPS = {"identity": 2600, "pairs": 4800}
BATCH, ALIKE = 64, 4  # pictures per lesson; every group of `ALIKE` shares most of what its captions say
VISION = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "image_size": SIDE,
    "patch_size": 8,
}
READING = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "max_position_embeddings": 40,
}
TOKENS, START, END = 600, "<|startoftext|>", "<|endoftext|>"
Log = Callable[[str], None]


class IdentityScorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.vit = ViTModel(
            ViTConfig(**VISION, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), add_pooling_layer=False
        )

    def loss(self, pictures: Tensor) -> Tensor:
        """`pictures` (B, 3, SIDE, SIDE) in 0..1, of which 2i and 2i + 1 show one subject."""
        vectors = F.normalize(self.vit(pixel_values=SCORER_INPUT.normalised(pictures)).last_hidden_state[:, 0], dim=-1)
        similar = vectors[0::2] @ vectors[1::2].T / 0.1
        target = torch.arange(len(similar))
        return (F.cross_entropy(similar, target) + F.cross_entropy(similar.T, target)) / 2

    def lesson(self, step: int, seed: int) -> tuple[Tensor]:
        return identity_lesson(step, seed)[:1]


class PairScorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokenizer = build_tokenizer()
        ids = {
            "vocab_size": len(self.tokenizer),
            "bos_token_id": self.tokenizer.bos_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
        }
        self.clip = CLIPModel(CLIPConfig(text_config={**READING, **ids}, vision_config=VISION, projection_dim=96))

    def loss(self, pictures: Tensor, ids: Tensor, mask: Tensor, true: Tensor) -> Tensor:
        """`true` (B, B): whether caption j happens to be right about picture i; such pairs are no negatives."""
        seen = self.clip.visual_projection(
            self.clip.vision_model(pixel_values=SCORER_INPUT.normalised(pictures)).pooler_output
        )
        read = self.clip.text_projection(self.clip.text_model(input_ids=ids, attention_mask=mask).pooler_output)
        scale = self.clip.logit_scale.exp().clamp_max(50)
        similar = scale * F.normalize(seen, dim=-1) @ F.normalize(read, dim=-1).T
        similar = similar.masked_fill(true & ~torch.eye(len(true), dtype=torch.bool), -1e4)
        target = torch.arange(len(similar))
        return (F.cross_entropy(similar, target) + F.cross_entropy(similar.T, target)) / 2

    def lesson(self, step: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = random.Random(f"pairs {seed} {step}")
        scenes = [scene for _ in range(BATCH // ALIKE) for scene in alike(rng)]
        said, facts = zip(*(caption(rng, scene) for scene in scenes))
        truth = [answers(scene) | worn(scene) for scene in scenes]
        true = torch.tensor([[all(t[name] == value for name, value in fact.items()) for fact in facts] for t in truth])
        words = self.tokenizer(list(said), padding=True, return_tensors="pt")
        pictures = torch.stack([SCORER_INPUT.pixels(blurred(rng, draw(scene, SIDE))) for scene in scenes])
        return pictures, words["input_ids"], words["attention_mask"], true


def alike(rng: random.Random) -> list[Scene]:
    """Scenes that differ from the first in one thing each: what a caption must be read for."""
    first = random_scene(rng, held_out=None)
    found = [first]
    while len(found) < ALIKE:
        other = random_scene(rng, held_out=None)
        subject = first.subject
        changed = rng.choice(("place", "kind", "subject", "accessory"))
        if changed == "place":
            found.append(replace(other, subject=subject))
        elif changed == "kind" and not subject.accessory:
            found.append(replace(other, subject=replace(subject, kind=other.subject.kind), place=first.place))
        elif changed == "subject":
            found.append(replace(other, place=first.place))
        elif changed == "accessory" and other.subject.accessory and subject.accessory:
            new = {name: getattr(other.subject, name) for name in ("accessory", "accessory_colour", "accessory_words")}
            found.append(replace(other, subject=replace(subject, **new), place=first.place))
    return found


def caption(rng: random.Random, scene: Scene) -> tuple[str, dict[str, str]]:
    """A sentence that says some of what is true of a scene, and what it says, by attribute."""
    subject, truth = scene.subject, answers(scene) | worn(scene)
    said, noun, tail = ["class"], subject.kind, ""
    if rng.random() < 0.6:
        said, noun = [*said, "colour", "pattern", "words"], f"{subject.words} {subject.kind}"
    elif rng.random() < 0.4:
        said, noun = [*said, "colour"], f"{truth['colour']} {subject.kind}"
    if subject.accessory and rng.random() < 0.7:
        said, tail = [*said, "accessory", "worn"], f" wearing {subject.accessory_words}"
    if rng.random() < 0.75:
        said, tail = [*said, "place"], f"{tail} {PLACES[scene.place]}"
    sentence = with_article(noun)
    if rng.random() < 0.3:
        template = rng.choice(TEMPLATES)
        bare = template.rsplit(" ", 2)[-2] in ("clean", "nice", "one")
        sentence = template.format(noun if bare else sentence)
    return sentence + tail, {name: truth[name] for name in said}


def worn(scene: Scene) -> dict[str, str]:
    """What `answers` leaves out: all the adjectives, and the accessory's colour."""
    return {"words": scene.subject.words, "worn": scene.subject.accessory_words}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A BPE in CLIP's format: word ends are marked, START before and END behind every sentence."""
    raw = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    learner = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[START, END],
        end_of_word_suffix="</w>",
        show_progress=False,
        initial_alphabet=[chr(c) for c in range(33, 127)],
    )
    raw.train_from_iterator((text.lower() for text in captions(20000)), learner)
    pairs = [(name, raw.token_to_id(name)) for name in (START, END)]
    raw.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=pairs)
    return CLIPTokenizerFast(tokenizer_object=raw, bos_token=START, eos_token=END, pad_token=END, unk_token=END)


def train(name: str, folder: Path, steps: int, seed: int = 0, log: Log = print) -> IdentityScorer | PairScorer:
    """Train one scorer, from nothing or from its checkpoint in `folder`."""
    torch.manual_seed(seed)
    scorer = {"identity": IdentityScorer, "pairs": PairScorer}[name]()
    path = folder / f"{name}_scorer.safetensors"
    return train_small(
        scorer,
        scorer.lesson,
        path,
        steps,
        rate=1e-3,
        warm_up=200,
        weight_decay=0.05,
        betas=(0.9, 0.98),
        clip_norm=1.0,
        seed=seed,
        log=log,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.making.scorer_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="checkpoints")
    parser.add_argument("--only", choices=tuple(STEPS), help="train only one of them, and export nothing")
    parser.add_argument("--steps", type=int, help=f"default: {STEPS}")
    parser.add_argument("--out", type=Path, default=MINIATURE_SCORERS)
    arguments = parser.parse_args()
    started = time.time()
    log = lambda message: print(f"[{(time.time() - started) / 60:6.1f} min] {message}", flush=True)  # noqa: E731
    names = [arguments.only] if arguments.only else list(STEPS)
    scorers = {name: train(name, arguments.folder, arguments.steps or STEPS[name], log=log) for name in names}
    if not arguments.only:
        export(scorers["identity"], scorers["pairs"], arguments.out)
        log(f"wrote {arguments.out}")


def export(identity: IdentityScorer, pairs: PairScorer, out: Path) -> None:
    """Both as folders that transformers reads; weights as float16."""
    identity.vit.half().save_pretrained(out / "identity")
    pairs.clip.half().save_pretrained(out / "pairs")
    pairs.tokenizer.save_pretrained(out / "pairs")


if __name__ == "__main__":
    main()
