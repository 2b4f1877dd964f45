"""The encoders of the protocol: DINO ViT-S/16 (CLS output) and CLIP ViT-B/32, through transformers, in float32.

Weights are the user's: a folder with config.json and model.safetensors, or what the hub's cache already holds.
Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packaging.version import Version  # transformers brings it
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..files import weights_hash
from ..quoting import quoted

OLDEST_TRANSFORMERS = "4.37.2"  # the oldest that ComfyUI 0.3.64 allows; with it the scorers give the same vectors
BATCH = 32
MODEL_FILES = ("config.json", "model.safetensors")
CLIP_FILES = (*MODEL_FILES, "tokenizer.json")
MINIATURE_SCORERS = Path(__file__).parents[1] / "miniature" / "scorers"


log = logging.getLogger(__name__)


class EncoderError(ValueError):
    """Encoders that cannot be loaded; the message names files and folder, or the version that is needed."""


@contextmanager
def float32_by_default() -> Iterator[None]:
    """While this lasts, torch's default is float32: transformers computes masks in it, whatever its weights are in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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
        mean, std = (torch.tensor(values, dtype=torch.float32, device="cpu") for values in (self.mean, self.std))
        return (pixels - mean[:, None, None]) / std[:, None, None]


DINO_INPUT = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_INPUT = Preprocessing(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SCORER_INPUT = Preprocessing(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class EncoderChoice:
    """Which two encoders score: a ViT that tells a subject from others of its class, and a CLIP.

    `measures` are the names of their numbers: picture against photos by the ViT, the same by the CLIP, picture against
    prompt by the CLIP.
    """

    title: str
    vit: Path | str  # a folder, or a name in the hub's local cache
    clip: Path | str
    vit_input: Preprocessing
    clip_input: Preprocessing
    measures: tuple[str, str, str]


PAPER_ENCODERS = EncoderChoice(
    "DINO ViT-S/16 + CLIP ViT-B/32",
    "facebook/dino-vits16",
    "openai/clip-vit-base-patch32",
    DINO_INPUT,
    CLIP_INPUT,
    ("DINO", "CLIP-I", "CLIP-T"),
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


@dataclass(frozen=True, eq=False)
class Encoders:
    """Unit vectors of pictures and sentences; `names` says which weights gave them."""

    choice: EncoderChoice
    vit: Any  # transformers' modules and tokenizer, whose types are not published
    clip: Any
    tokenizer: Any
    names: dict[str, str]

    @classmethod
    def load(cls, choice: EncoderChoice = PAPER_ENCODERS, device: str | torch.device = "cpu") -> Encoders:
        """Load both from folders, or by hub name from the local cache. Raises EncoderError."""
        transformers = _supported_transformers()
        vit = _load(choice.vit, transformers.ViTModel, MODEL_FILES, add_pooling_layer=False, use_safetensors=True)
        clip = _load(choice.clip, transformers.CLIPModel, CLIP_FILES, use_safetensors=True)
        tokenizer = _load(choice.clip, transformers.CLIPTokenizerFast, CLIP_FILES)
        names = {
            choice.measures[0]: _name(choice.vit, vit),
            " and ".join(choice.measures[1:]): _name(choice.clip, clip),
        }
        for module in (vit, clip):
            module.to(device, torch.float32).requires_grad_(False).eval()
        log.info("Loaded the encoders %s", names)
        return cls(choice, vit, clip, tokenizer, names)

    @torch.no_grad()
    @float32_by_default()
    def embed_images(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """The ViT's and the CLIP's unit vectors of pictures, (n, d) each, on the CPU."""
        by_vit = []
        by_clip = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            pixels = self.choice.vit_input(part).to(self.vit.device)
            by_vit.append(self.vit(pixel_values=pixels).last_hidden_state[:, 0])  # of the CLS token
            pixels = self.choice.clip_input(part).to(self.clip.device)
            pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
            by_clip.append(self.clip.visual_projection(pooled))
        return _unit(torch.cat(by_vit)), _unit(torch.cat(by_clip))

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


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1).cpu()


def _supported_transformers() -> Any:
    """The module transformers. Raises EncoderError where it is too old."""
    transformers: Any = importlib.import_module("transformers")  # takes seconds to import
    found = transformers.__version__
    if Version(found) < Version(OLDEST_TRANSFORMERS):
        raise EncoderError(
            f"Scoring needs transformers {OLDEST_TRANSFORMERS} or later and found {found}: install it with "
            f'"{sys.executable}" -m pip install "transformers>={OLDEST_TRANSFORMERS}", then start again.'
        )
    return transformers


def _load(source: Path | str, kind: Any, files: Sequence[str], **options: bool) -> Any:
    """`kind.from_pretrained`, without the network. Raises EncoderError."""
    try:
        return kind.from_pretrained(source, local_files_only=True, **options)
    except Exception as error:  # a tokenizer file that tokenizers cannot read is a bare Exception
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        where = f"the hub's local cache (there is no folder {source})"
        if Path(source).is_dir():
            where = f"the folder {source}"
        raise EncoderError(
            f"The encoder {source} cannot be loaded from {where}: {reason} It needs {', '.join(files)}."
        ) from error


def _name(source: Path | str, model: Any) -> str:
    """Folder or hub name, and a revision: the commit, or a hash of the weights."""
    revision = getattr(model.config, "_commit_hash", None)
    if revision is None:
        revision = f"weights {weights_hash([model])}"
    name = str(source)
    if Path(source).is_dir():
        name = Path(source).name
    return f"{name}@{revision[:20]}"
