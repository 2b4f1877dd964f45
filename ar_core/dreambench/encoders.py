"""The encoders of the protocol: DINO ViT-S/16 (CLS output) and CLIP ViT-B/32, through transformers, in float32.

Weights are the user's: a folder with config.json and model.safetensors or pytorch_model.bin, or what the hub's cache
already holds. Nothing is downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..files import json_hash, values_hash
from ..quoting import quoted
from .architectures import (
    CLIP,
    VIT,
    Architecture,
    computing_settings,
    first_line,
    float32_by_default,
    load_model,
    supported_transformers,
)
from .encoder_files import NEEDED, EncoderError, EncoderFiles

BATCH = 32
DIGITS = 12  # of a hash, as reports show it
# Sentences whose tokens tell one text tokenizer from another.
PROBES = ("a photo of a red dog wearing a black top hat and a monocle", "Łódź, 42 % of wolf_plushies' £!", "")
MINIATURE_SCORERS = Path(__file__).parents[1] / "miniature" / "scorers"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocessing:
    """Shorter side to `resize` (bicubic), the middle `side` x `side`, normalised."""

    resize: int
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures as the encoder's input (n, 3, side, side)."""
        return self.normalised(torch.stack([self.pixels(image) for image in images]))

    def pixels(self, image: Image.Image) -> Tensor:
        """One picture resized and cropped (3, side, side), in 0..1."""
        image = image.convert("RGB")
        shorter = min(image.size)
        width = image.width * self.resize // shorter  # rounded down, as torchvision and transformers do
        height = image.height * self.resize // shorter
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left = (width - self.side) // 2
        top = (height - self.side) // 2
        cropped = image.crop((left, top, left + self.side, top + self.side))
        return torch.from_numpy(np.array(cropped)).movedim(-1, 0).float() / 255

    def normalised(self, pixels: Tensor) -> Tensor:
        """(n, 3, side, side) in 0..1 to the range that the encoder was trained on."""
        mean = torch.tensor(self.mean, dtype=torch.float32, device=pixels.device)
        std = torch.tensor(self.std, dtype=torch.float32, device=pixels.device)
        return (pixels - mean[:, None, None]) / std[:, None, None]


DINO_INPUT = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_INPUT = Preprocessing(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SCORER_INPUT = Preprocessing(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class EncoderChoice:
    """Which two encoders score: a ViT that tells a subject from others of its class, and a CLIP.

    `measures` are the names of their numbers: picture against photos by the ViT, the same by the CLIP, picture against
    prompt by the CLIP. `vit_needs` and `clip_needs`: what must be loaded to give numbers by these names.
    """

    title: str
    vit: Path | str  # a folder, or a name in the hub's local cache
    clip: Path | str
    vit_input: Preprocessing
    clip_input: Preprocessing
    measures: tuple[str, str, str]
    vit_needs: Architecture = VIT
    clip_needs: Architecture = CLIP


PAPER_ENCODERS = EncoderChoice(
    "DINO ViT-S/16 + CLIP ViT-B/32",
    "facebook/dino-vits16",
    "openai/clip-vit-base-patch32",
    DINO_INPUT,
    CLIP_INPUT,
    ("DINO", "CLIP-I", "CLIP-T"),
    replace(
        VIT,
        sizes={
            "hidden_size": (384,),
            "num_hidden_layers": (12,),
            "num_attention_heads": (6,),
            "patch_size": (16,),
            "hidden_act": ("gelu",),
        },
    ),
    replace(
        CLIP,
        sizes={
            "projection_dim": (512,),
            "vision_config.num_hidden_layers": (12,),
            "vision_config.patch_size": (32,),
            "vision_config.image_size": (224,),
            "vision_config.num_attention_heads": (12,),
            "vision_config.hidden_act": ("quick_gelu",),
            "text_config.num_attention_heads": (8,),
            "text_config.hidden_act": ("quick_gelu",),
        },
    ),
)
# Not DINO and not CLIP, and so not called by their names: trained on drawings alone, their numbers compare with nothing
# published.
MINIATURE_ENCODERS = EncoderChoice(
    "the miniature's scorers (drawings only)",
    MINIATURE_SCORERS / "identity",
    MINIATURE_SCORERS / "pairs",
    SCORER_INPUT,
    SCORER_INPUT,
    ("mini-ID", "mini-CLIP-I", "mini-CLIP-T"),
)
# Any ViT and CLIP of the user's that take the paper's input, such as a larger CLIP: under names that claim nothing.
OWN_ENCODERS = EncoderChoice(
    "a ViT and a CLIP of your own",
    "",
    "",
    DINO_INPUT,
    CLIP_INPUT,
    ("own-ID", "own-CLIP-I", "own-CLIP-T"),
    replace(VIT, sizes={"image_size": (224,)}),
    replace(CLIP, sizes={"vision_config.image_size": (224,)}),
)


@dataclass(frozen=True, eq=False)
class MoreEncoder:
    """An encoder that one measure brings: its CLS output, as of the ViT.

    `name`: of its option on the command line.
    """

    name: str
    source: Path | str  # a folder, or a name in the hub's local cache
    input: Preprocessing
    needs: Architecture


@dataclass(frozen=True, eq=False)
class Encoders:
    """Unit vectors of pictures and sentences; `names` says which weights gave them."""

    choice: EncoderChoice
    vit: Any  # transformers' modules and tokenizer, whose types are not published
    clip: Any
    tokenizer: Any
    names: dict[str, str]
    instruments: dict[str, dict[str, Any]]  # by the same titles, what decides their numbers: see protocol.py
    more: Mapping[MoreEncoder, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        choice: EncoderChoice = PAPER_ENCODERS,
        device: str | torch.device = "cpu",
        more: Sequence[MoreEncoder] = (),
    ) -> Encoders:
        """Load all from folders, or by hub name from the local cache. Raises EncoderError."""
        names: dict[str, str] = {}
        instruments: dict[str, dict[str, Any]] = {}

        def loaded(title: str, source: Path | str, needs: Architecture, prepare: Preprocessing) -> Any:
            files = EncoderFiles.find(source)
            model = load_model(files, needs)
            weights = values_hash(model)
            names[title] = files.label(weights)
            instruments[title] = {
                "weights": weights[:DIGITS],
                "settings": computing_settings(model.config),
                "input": asdict(prepare),
            }
            return model.to(device)

        vit = loaded(choice.measures[0], choice.vit, choice.vit_needs, choice.vit_input)
        by_clip = " and ".join(choice.measures[1:])
        clip = loaded(by_clip, choice.clip, choice.clip_needs, choice.clip_input)
        others = {encoder: loaded(encoder.name, encoder.source, encoder.needs, encoder.input) for encoder in more}
        tokenizer = load_tokenizer(EncoderFiles.find(choice.clip))
        instruments[by_clip]["tokens"] = json_hash(tokenizer(list(PROBES))["input_ids"])[:DIGITS]
        log.info("Loaded the encoders %s", names)
        return cls(choice, vit, clip, tokenizer, names, instruments, others)

    def embed(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Every encoder's unit vectors of pictures, (n, d) each, on the CPU: "vit", "clip", and more by their names."""
        vit, clip = self.embed_images(images)
        found = {"vit": vit, "clip": clip}
        for encoder, module in self.more.items():
            found[encoder.name] = cls_vectors(module, encoder.input, images)
        return found

    @torch.no_grad()
    @float32_by_default()
    def embed_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """The ViT's and the CLIP's unit vectors of pictures, (n, d) each, on the CPU."""
        by_clip = []
        for start in range(0, len(images), BATCH):
            pixels = self.choice.clip_input(images[start : start + BATCH]).to(self.clip.device)
            pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
            by_clip.append(self.clip.visual_projection(pooled))
        return self.embed_by_vit(images), _unit(torch.cat(by_clip))

    def embed_by_vit(self, images: Sequence[Image.Image]) -> Tensor:
        """The ViT's unit vectors of pictures alone, (n, d), on the CPU."""
        return cls_vectors(self.vit, self.choice.vit_input, images)

    @torch.no_grad()
    @float32_by_default()
    def embed_texts(self, sentences: Sequence[str]) -> Tensor:
        """CLIP's unit vectors of sentences (n, d), on the CPU."""
        words = self.tokenizer(
            list(sentences), padding=True, truncation=True, max_length=self.longest_text, return_tensors="pt"
        ).to(self.clip.device)
        output = self.clip.text_model(input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        return _unit(self.clip.text_projection(output.pooler_output))

    @property
    def longest_text(self) -> int:
        """How many tokens of a sentence are read, with those at its ends."""
        return min(self.tokenizer.model_max_length, self.clip.config.text_config.max_position_embeddings)

    def describe_cut(self, sentences: Sequence[str]) -> str:
        """A line about sentences of which the end is not read; "" where there are none."""
        whole = list(dict.fromkeys(sentences))
        lengths = [len(ids) for ids in self.tokenizer(whole, verbose=False)["input_ids"]]
        cut = [sentence for sentence, length in zip(whole, lengths, strict=True) if length > self.longest_text]
        if not cut:
            return ""
        return (
            f"{self.choice.measures[2]} reads {self.longest_text} tokens of a prompt, and compares {len(cut)} of "
            f"{len(whole)} prompts by their beginning alone, such as {quoted(cut[0])}."
        )


@torch.no_grad()
@float32_by_default()
def cls_vectors(module: Any, prepare: Preprocessing, images: Sequence[Image.Image]) -> Tensor:
    """Unit vectors of pictures (n, d), on the CPU: what a ViT says of them in its CLS token."""
    found = []
    for start in range(0, len(images), BATCH):
        pixels = prepare(images[start : start + BATCH]).to(module.device)
        found.append(module(pixel_values=pixels).last_hidden_state[:, 0])
    return _unit(torch.cat(found))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1).cpu()


def load_tokenizer(files: EncoderFiles) -> Any:
    """CLIP's, from tokenizer.json or from vocab.json and merges.txt. Raises EncoderError."""
    if not (files.folder / "tokenizer.json").is_file() and not (files.folder / "merges.txt").is_file():
        raise EncoderError(_without_tokenizer(files, "there is none"))
    try:
        return supported_transformers().CLIPTokenizerFast.from_pretrained(files.folder, local_files_only=True)
    except Exception as error:  # a tokenizer file that tokenizers cannot read is a bare Exception
        raise EncoderError(_without_tokenizer(files, first_line(error))) from error


def _without_tokenizer(files: EncoderFiles, reason: str) -> str:
    return (
        f"The tokenizer in the folder {files.folder} cannot be loaded ({reason}). It needs tokenizer.json, or "
        f"vocab.json and merges.txt, beside {NEEDED}."
    )
