"""The encoders of the protocol: DINO ViT-S/16 (CLS output) and CLIP ViT-B/32, through transformers, in float32.

Weights are the user's: a folder with config.json and model.safetensors, or what the hub's cache already holds.
Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..files import weights_hash

BATCH = 32
MINIATURE_SCORERS = Path(__file__).parents[1] / "miniature" / "scorers"


class EncoderError(ValueError):
    """Encoder files that are not there or do not fit; the message names files and folder."""


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
        image, short = image.convert("RGB"), min(image.size)
        width, height = (
            length * self.resize // short for length in image.size
        )  # rounded down, as torchvision and transformers do
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        return (
            torch.from_numpy(np.array(image.crop((left, top, left + self.side, top + self.side))))
            .movedim(-1, 0)
            .float()
            / 255
        )

    def normalised(self, pixels: Tensor) -> Tensor:
        """(n, 3, side, side) in 0..1 to the range that the encoder was trained on."""
        return (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


DINO_INPUT = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_INPUT = Preprocessing(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SCORER_INPUT = Preprocessing(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class EncoderChoice:
    """Which two encoders score: a ViT that knows a subject again, and a CLIP. `measures` are the names of their numbers:
    picture against photos by the ViT, the same by the CLIP, picture against prompt by the CLIP."""

    title: str
    vit: Path | str  # a folder, or a name in the hub's local cache
    clip: Path | str
    vit_input: Preprocessing
    clip_input: Preprocessing
    measures: tuple[str, str, str]


PAPER = EncoderChoice(
    "DINO ViT-S/16 + CLIP ViT-B/32",
    "facebook/dino-vits16",
    "openai/clip-vit-base-patch32",
    DINO_INPUT,
    CLIP_INPUT,
    ("DINO", "CLIP-I", "CLIP-T"),
)
# Not DINO and not CLIP, and so not called by their names: trained on drawings alone, their numbers compare with nothing published.
MINIATURE = EncoderChoice(
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
    vit: nn.Module
    clip: nn.Module
    tokenizer: object
    names: dict[str, str]

    @classmethod
    def load(cls, choice: EncoderChoice = PAPER, device: str | torch.device = "cpu") -> Encoders:
        """Load both from folders, or by hub name from the local cache. Raises EncoderError."""
        from transformers import CLIPModel, CLIPTokenizerFast, ViTModel  # takes seconds to import

        files = ("config.json", "model.safetensors", "tokenizer.json")
        vit = _load(
            choice.vit, lambda **o: ViTModel.from_pretrained(choice.vit, add_pooling_layer=False, **o), files[:2]
        )
        clip = _load(choice.clip, lambda **o: CLIPModel.from_pretrained(choice.clip, **o), files)
        tokenizer = _load(
            choice.clip, lambda **o: CLIPTokenizerFast.from_pretrained(choice.clip, local_files_only=True), files
        )
        to = lambda module: module.to(device, torch.float32).requires_grad_(False).eval()  # noqa: E731
        names = {
            choice.measures[0]: _name(choice.vit, vit),
            " and ".join(choice.measures[1:]): _name(choice.clip, clip),
        }
        return cls(choice, to(vit), to(clip), tokenizer, names)

    @torch.no_grad()
    def look(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """The ViT's and the CLIP's vectors of pictures, (n, d) each, on the CPU."""
        by_vit, by_clip = [], []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            by_vit.append(
                self.vit(pixel_values=self.choice.vit_input(part).to(self.vit.device)).last_hidden_state[:, 0]
            )
            seen = self.clip.vision_model(pixel_values=self.choice.clip_input(part).to(self.clip.device)).pooler_output
            by_clip.append(self.clip.visual_projection(seen))
        return tuple(F.normalize(torch.cat(vectors), dim=-1).cpu() for vectors in (by_vit, by_clip))

    @torch.no_grad()
    def read(self, sentences: Sequence[str]) -> Tensor:
        """CLIP vectors of sentences (n, d), on the CPU."""
        words = self.tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt").to(self.clip.device)
        read = self.clip.text_model(input_ids=words["input_ids"], attention_mask=words["attention_mask"]).pooler_output
        return F.normalize(self.clip.text_projection(read), dim=-1).cpu()


def _load(source: Path | str, load, files: tuple[str, ...]):
    try:
        return load(local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        where = (
            f"the folder {source}" if Path(source).is_dir() else f"the hub's local cache (there is no folder {source})"
        )
        raise EncoderError(
            f"The encoder {source} cannot be loaded from {where}: {reason} It needs {', '.join(files)}."
        ) from error


def _name(source: Path | str, model: nn.Module) -> str:
    """Folder or hub name, and a revision: the commit, or a hash of the weights."""
    revision = getattr(model.config, "_commit_hash", None)
    if revision is None:
        revision = f"weights {weights_hash([model])}"
    return f"{Path(source).name if Path(source).is_dir() else source}@{revision[:20]}"
