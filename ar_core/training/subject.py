"""A subject ready for training: its photos and views of them as codes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from ..families.protocol import Size
from ..model import ARModel
from ..photos import Photo, centre_crop, pixel_hash, stack, views
from .runs import Run, collected

VIEW_SEED = 0  # the views belong to the photos, not to one training


@dataclass(frozen=True, eq=False)
class Subject:
    """Codes (pictures, rows, columns) of photos and views; `photo_of[i]` is the photo that picture i shows."""

    class_name: str
    size: Size
    codes: Tensor
    photo_of: tuple[int, ...]
    source: str  # hash of the photos' pixels and of how views were made: decides whether anything must be learned again

    @property
    def photos(self) -> int:
        return 1 + max(self.photo_of)


def prepare_subject(
    model: ARModel,
    photos: Sequence[Photo],
    class_name: str,
    size: Size | None = None,
    *,
    runs: Path | str | None = None,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> Subject:
    """Crop the photos, make the recipe's views of each, and encode everything once; remembered below `runs`."""
    recipe = model.family.recipe
    size = size or recipe.size
    class_name = " ".join(class_name.split())
    if not class_name:
        raise ValueError('The class name is empty. Give the word for what the photos show, for example "dog".')
    model.protocol.encode(f" {class_name}")  # refuses control tokens
    fields = {
        "photos": pixel_hash([photo.image for photo in photos]),
        "size": list(size),
        "codebook": _codebook_hash(model),
        "seed": VIEW_SEED,
        "views": [recipe.views, recipe.view_shift, recipe.view_scale, recipe.view_flip],
    }
    run = Run(Path(runs), "photos", fields) if runs is not None else None
    codes = run.remembered("codes") if run else None
    if codes is None:
        codes = _encode(model, photos, size, run, progress, cancel)
    photo_of = tuple(i // (1 + recipe.views) for i in range(len(codes)))
    source = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return Subject(class_name, size, codes, photo_of, source)


def _encode(
    model: ARModel, photos: Sequence[Photo], size: Size, run: Run | None, progress: Progress, cancel: Cancel
) -> Tensor:
    """Codes of every photo, each followed by its views; what is read when something ends this early is remembered in `run`."""
    recipe = model.family.recipe

    def pictures() -> Iterator[Image.Image]:
        for number, photo in enumerate(photos):
            yield centre_crop(photo.image, size)
            yield from views(
                photo.image,
                size,
                recipe.views,
                VIEW_SEED + number,
                recipe.view_shift,
                recipe.view_scale,
                recipe.view_flip,
            )

    def encoded(done: int) -> Iterator[Tensor]:
        for number, picture in enumerate(itertools.islice(pictures(), done, None), done + 1):
            stop_if(cancel)
            yield model.encode(stack([picture]))
            progress(number, len(photos) * (1 + recipe.views), "reading photos")

    return collected(run, "codes", encoded)


def _codebook_hash(model: ARModel) -> str:
    rows = model.image_tokenizer.quantize.embedding.weight.detach().float().cpu().contiguous()
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()[:16]
