"""From pictures and photos to numbers, per picture and per subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from .encoders import Encoders
from .measures.copies import copies_by_vit
from .measures.diversity import DIVERSITY
from .measures.measure import Evidence, Measure, PictureMeasure, SubjectMeasure
from .measures.prior import PRIOR
from .measures.registry import protocol_measures
from .protocol import SubjectProtocol
from .statistics import NAN, mean


@dataclass(frozen=True)
class ScoredPicture:
    """One picture and its numbers."""

    subject: str
    prompt: str
    file: str
    capability: str
    values: tuple[float, ...]  # in the order of `SubjectScores.picture_measures`
    nearest_photo: float  # cosine of the ViT (DINO)
    copied: bool
    seed: int | None = None  # None where it is not known


@dataclass(frozen=True)
class SubjectScores:
    """One subject: its pictures, and what its own photos reach among themselves.

    `measures`: the columns of every table, such as DINO, CLIP-I, CLIP-T and those that were chosen beside them. `whole`
    has the numbers of those that are not per picture.
    """

    subject: str
    measures: tuple[str, ...]
    pictures: tuple[ScoredPicture, ...]
    real: dict[str, float]
    diversity: float
    prior: float  # NaN without class images
    whole: dict[str, float] = field(default_factory=dict)
    protocol: SubjectProtocol | None = None  # None where only numbers are known

    @property
    def picture_measures(self) -> tuple[str, ...]:
        """Those with a number for every picture."""
        return tuple(measure for measure in self.measures if measure not in self.whole)

    def mean(self, measure: str, capability: str = "") -> float:
        """Over prompts, each the mean of its pictures; or over those of one kind, which a measure of the whole lacks.

        NaN of a measure that was not taken.
        """
        if measure in self.whole:
            return NAN if capability else self.whole[measure]
        if measure not in self.measures:
            return NAN
        index = self.picture_measures.index(measure)
        by_prompt: dict[str, list[float]] = {}
        for picture in self.pictures:
            if capability in ("", picture.capability):
                by_prompt.setdefault(picture.prompt, []).append(picture.values[index])
        return mean([mean(values) for values in by_prompt.values()])

    @property
    def copied(self) -> float:
        """The share of pictures that may be copies of a photo."""
        return mean([float(picture.copied) for picture in self.pictures])


def no_capability(prompt: str) -> str:
    """For prompts whose kind is not known."""
    return ""


def score_subject(
    encoders: Encoders,
    subject: str,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    photos: Sequence[Image.Image],
    *,
    files: Sequence[str] = (),
    seeds: Sequence[int | None] = (),
    capability: Callable[[str], str] = no_capability,
    class_images: Sequence[Image.Image] = (),
    measures: Sequence[Measure] = (),
    others: Mapping[str, Tensor] | None = None,
    several_trainings: bool = False,
) -> SubjectScores:
    """Score one subject's pictures.

    `prompts`: the plain sentences, one per picture. `files`: what each picture is called, its number where not given.
    `seeds`: what each was drawn from, where known. `capability`: the kind of a prompt. `class_images`: of the bare
    class, for prior preservation. `measures`: those beside the protocol's; `others`: see `Evidence`.
    `several_trainings`: pictures of different seeds come from different trainings. Raises ValueError where a picture
    has no prompt, or there is no picture or photo.
    """
    if not images or len(images) != len(prompts) or not photos:
        raise ValueError(
            f"{subject}: {len(images)} pictures, {len(prompts)} prompts, {len(photos)} photos; "
            "each picture needs a prompt."
        )
    trainings: Sequence[int | None] = seeds if several_trainings else ()
    seen = look_at(encoders, images, prompts, photos, class_images, others or {}, trainings)
    chosen = (*protocol_measures(encoders.choice), *measures)
    by_picture = [measure for measure in chosen if isinstance(measure, PictureMeasure)]
    whole = {measure.title: measure.compute(seen) for measure in chosen if isinstance(measure, SubjectMeasure)}
    columns = [measure.compute(seen).tolist() for measure in by_picture]
    copies = copies_by_vit(seen)
    pictures = []
    for number, prompt in enumerate(prompts):
        file = str(number)
        if files:
            file = files[number]
        seed = None
        if seeds:
            seed = seeds[number]
        values = tuple(column[number] for column in columns)
        nearest = float(copies.nearest[number])
        copied = bool(copies.suspected[number])
        pictures.append(ScoredPicture(subject, prompt, file, capability(prompt), values, nearest, copied, seed))
    return SubjectScores(
        subject,
        (*[measure.title for measure in by_picture], *whole),
        tuple(pictures),
        {measure.title: measure.real(seen) for measure in by_picture if measure.real is not None},
        DIVERSITY.compute(seen),
        PRIOR.compute(seen),
        whole,
        SubjectProtocol.of(photos, prompts),
    )


def look_at(
    encoders: Encoders,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    photos: Sequence[Image.Image],
    class_images: Sequence[Image.Image],
    others: Mapping[str, Tensor],
    trainings: Sequence[int | None],
) -> Evidence:
    """What measures see of these pictures."""
    sentences = list(dict.fromkeys(prompts))
    of_class: dict[str, Tensor] = {}
    if class_images:
        of_class = encoders.embed(class_images)
    return Evidence(
        prompts,
        encoders.embed_texts(sentences)[[sentences.index(prompt) for prompt in prompts]],
        encoders.embed(images),
        encoders.embed(photos),
        of_class,
        others,
        trainings,
    )
