"""The encoders of the protocol: DINO ViT-S/16 (CLS output) and CLIP ViT-B/32, through transformers, in float32.

Weights are the user's: a folder with config.json and model.safetensors, or what the hub's cache already holds.
Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 32
SIDE = 224


class EncoderError(ValueError):
    """Encoder files that are not there or do not fit; the message names files and folder."""


@dataclass(frozen=True)
class Preprocessing:
    """Shorter side to `resize` (bicubic), the middle SIDE x SIDE, normalised."""

    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Pixels (n, 3, SIDE, SIDE)."""
        return torch.stack([self._one(image.convert("RGB")) for image in images])

    def _one(self, image: Image.Image) -> Tensor:
        width, height = image.size
        short = min(width, height)
        size = (width * self.resize // short, height * self.resize // short)  # rounded down, as torchvision and transformers do
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        pixels = torch.from_numpy(np.array(image.crop((left, top, left + SIDE, top + SIDE)))).movedim(-1, 0).float() / 255
        return (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


DINO_INPUT = Preprocessing(256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_INPUT = Preprocessing(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
DINO, CLIP = "facebook/dino-vits16", "openai/clip-vit-base-patch32"


@dataclass(frozen=True, eq=False)
class Encoders:
    """Unit vectors of pictures and sentences; `names` says which weights gave them."""

    dino: nn.Module
    clip: nn.Module
    tokenizer: object
    names: dict[str, str]

    @classmethod
    def load(cls, dino: Path | str = DINO, clip: Path | str = CLIP, device: str | torch.device = "cpu") -> Encoders:
        """Load both from folders, or by hub name from the local cache. Raises EncoderError."""
        from transformers import CLIPModel, CLIPTokenizerFast, ViTModel  # takes seconds to import

        vit = _load(dino, lambda **o: ViTModel.from_pretrained(dino, add_pooling_layer=False, **o), ("config.json", "model.safetensors"))
        files = ("config.json", "model.safetensors", "tokenizer.json")
        both = _load(clip, lambda **o: CLIPModel.from_pretrained(clip, **o), files)
        tokenizer = _load(clip, lambda **o: CLIPTokenizerFast.from_pretrained(clip, local_files_only=True), files)
        to = lambda module: module.to(device, torch.float32).requires_grad_(False).eval()  # noqa: E731
        return cls(to(vit), to(both), tokenizer, {"DINO": _name(dino, vit), "CLIP": _name(clip, both)})

    @torch.no_grad()
    def look(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """DINO and CLIP vectors of pictures, (n, d) each, on the CPU."""
        dino, clip = [], []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            dino.append(self.dino(pixel_values=DINO_INPUT(part).to(self.dino.device)).last_hidden_state[:, 0])
            seen = self.clip.vision_model(pixel_values=CLIP_INPUT(part).to(self.clip.device)).pooler_output
            clip.append(self.clip.visual_projection(seen))
        return tuple(F.normalize(torch.cat(vectors), dim=-1).cpu() for vectors in (dino, clip))

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
        where = f"the folder {source}" if Path(source).is_dir() else f"the hub's local cache (there is no folder {source})"
        raise EncoderError(f"The encoder {source} cannot be loaded from {where}: {reason} It needs {', '.join(files)}.") from error


def _name(source: Path | str, model: nn.Module) -> str:
    """Folder or hub name, and a revision: the commit, or a hash of the weights."""
    revision = getattr(model.config, "_commit_hash", None)
    if revision is None:
        total = hashlib.sha256()
        for name, value in model.state_dict().items():
            total.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
        revision = f"weights {total.hexdigest()}"
    return f"{Path(source).name if Path(source).is_dir() else source}@{revision[:20]}"
