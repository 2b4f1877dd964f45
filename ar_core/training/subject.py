"""A subject ready for training: its photos and views of them as codes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..control import Cancel, Progress, never, silent, stop_if
from ..families.family import Recipe
from ..families.protocol import Size
from ..files import json_hash, tensor_hash
from ..model import ARModel
from ..photos import Photo, pixel_hash, stack
from ..styles import STYLE_WORD
from ..text import check_class_name
from .code_masks import CodeMasks, masks_of_codes
from .prompt_captions import read_captions
from .runs import Run, collect_remembered, grid_of
from .templates import default_templates
from .views import VIEW_SEED, crop_and_views, view_fields


@dataclass(frozen=True, eq=False)
class Subject:
    """Codes (pictures, rows, columns) of photos and views; `photo_of[i]` is the photo that picture i shows.

    `masks`: where the subject is in each picture, None where no photo has a mask. `captions`: by photo, what else it
    shows, "" for nothing; none at all where no photo has one. A style has no class name: "".
    """

    class_name: str
    size: Size
    codes: Tensor
    photo_of: tuple[int, ...]
    source: str  # hash of the photos' pixels and of how views were made: decides whether anything must be learned again
    masks: CodeMasks | None = None
    captions: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """What its vectors start from, and what its trainings are called."""
        return self.class_name or STYLE_WORD

    @property
    def plain_prompt(self) -> str:
        """A prompt for pictures that are like its photos, but of another subject, or in no style."""
        if not self.class_name:
            return "a photo"
        return f"a photo of a {self.class_name}"

    @property
    def templates(self) -> tuple[str, ...]:
        """What its prompts in training are by default, with {} where its name goes."""
        return default_templates(self.class_name)

    @property
    def photos(self) -> int:
        """How many photos there are, without their views."""
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
    identifier: str = "[V]",
) -> Subject:
    """Crop the photos, make the recipe's views of each, and encode everything once; remembered below `runs`.

    `size` None is the recipe's for training. `identifier`: what captions may call the subject. Raises TextError for a
    class name that is empty, more than a few words, or spells a control token, and for a caption that cannot be used;
    PhotoError for a mask whose subject the crop leaves out; and Cancelled: what was encoded until then is remembered.
    """
    recipe = model.family.recipe
    size = size or recipe.learned_size
    class_name = check_class_name(class_name, style=True)
    model.protocol.encode(f" {class_name}")  # refuses control tokens
    captions = read_captions(photos, model.protocol, size, identifier, class_name)
    masks = masks_of_codes(photos, size, recipe, model.protocol.factor)
    fields = source_fields(model, photos, size)
    if runs is None:
        codes = _encode(model, photos, size, None, progress, cancel)
    else:
        run = Run(Path(runs), "photos", fields)
        with run.locked(progress, cancel):
            run.note_use()
            codes = _encode(model, photos, size, run, progress, cancel)
    photo_of = tuple(i // (1 + recipe.views) for i in range(len(codes)))
    return Subject(class_name, size, codes, photo_of, json_hash(fields), masks, captions)


def source_fields(model: ARModel, photos: Sequence[Photo], size: Size) -> dict[str, object]:
    """What decides a subject's codes: the photos' pixels, and how views and codes are made of them.

    Their hash names what is remembered, as those of identity.py do: no field may be added for all.
    """
    return {
        "photos": pixel_hash(photo.image for photo in photos),
        "size": list(size),
        "codebook": tensor_hash(model.image_tokenizer.quantize.embedding.weight),
        "seed": VIEW_SEED,
        "views": view_fields(model.family.recipe),
    }


def _encode(
    model: ARModel, photos: Sequence[Photo], size: Size, run: Run | None, progress: Progress, cancel: Cancel
) -> Tensor:
    """Codes of every photo, each followed by its views: remembered in `run`, also where this ends early."""
    recipe = model.family.recipe
    total = len(photos) * (1 + recipe.views)

    def encoded(done: int) -> Iterator[Tensor]:
        remaining = itertools.islice(_pictures(photos, size, recipe), done, None)
        for number, picture in enumerate(remaining, done + 1):
            stop_if(cancel)
            yield model.encode(stack([picture]))
            progress(number, total, "reading photos")

    return collect_remembered(run, "codes", grid_of(model, size), total, encoded)


def _pictures(photos: Sequence[Photo], size: Size, recipe: Recipe) -> Iterator[Image.Image]:
    """Each photo's centre crop, followed by its views."""
    for number, photo in enumerate(photos):
        yield from crop_and_views(photo.image, number, size, recipe)  # a large one is decoded here
