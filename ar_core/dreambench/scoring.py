"""From pictures and photos to numbers, per picture and per subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from . import scores
from .encoders import Encoders
from .protocol import SubjectProtocol
from .statistics import NAN, mean


@dataclass(frozen=True)
class ScoredPicture:
    """One picture and its numbers."""

    subject: str
    prompt: str
    file: str
    capability: str
    values: tuple[float, ...]  # in the order of `SubjectScores.measures`
    nearest_photo: float  # cosine of the ViT (DINO)
    copied: bool


@dataclass(frozen=True)
class SubjectScores:
    """One subject: its pictures, and what its own photos reach among themselves."""

    subject: str
    measures: tuple[str, ...]  # such as DINO, CLIP-I, CLIP-T
    pictures: tuple[ScoredPicture, ...]
    real: dict[str, float]
    diversity: float
    prior: float  # NaN without class images
    protocol: SubjectProtocol | None = None  # None where only numbers are known

    def mean(self, measure: str, capability: str = "") -> float:
        """Over all pictures, or over those of one kind of prompt."""
        index = self.measures.index(measure)
        return mean([picture.values[index] for picture in self.pictures if capability in ("", picture.capability)])

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
    capability: Callable[[str], str] = no_capability,
    class_images: Sequence[Image.Image] = (),
) -> SubjectScores:
    """Score one subject's pictures.

    `prompts`: the plain sentences, one per picture. `files`: what each picture is called, its number where not given.
    `capability`: the kind of a prompt. `class_images`: of the bare class, for prior preservation. Raises ValueError
    where a picture has no prompt, or there is no picture or photo.
    """
    if not images or len(images) != len(prompts) or not photos:
        raise ValueError(
            f"{subject}: {len(images)} pictures, {len(prompts)} prompts, {len(photos)} photos; "
            "each picture needs a prompt."
        )
    vit, clip = encoders.embed_images(images)
    photos_vit, photos_clip = encoders.embed_images(photos)
    sentences = list(dict.fromkeys(prompts))
    texts = encoders.embed_texts(sentences)[[sentences.index(prompt) for prompt in prompts]]
    likeness_vit = scores.subject_fidelity(vit, photos_vit).tolist()
    likeness_clip = scores.subject_fidelity(clip, photos_clip).tolist()
    to_prompt = scores.prompt_fidelity(clip, texts).tolist()
    copies = scores.copy_check(vit, photos_vit)
    pictures = []
    for number, prompt in enumerate(prompts):
        file = str(number)
        if files:
            file = files[number]
        values = (likeness_vit[number], likeness_clip[number], to_prompt[number])
        nearest = float(copies.nearest[number])
        copied = bool(copies.suspected[number])
        pictures.append(ScoredPicture(subject, prompt, file, capability(prompt), values, nearest, copied))
    prior = NAN
    if class_images:
        prior = scores.prior_preservation(encoders.embed_images(class_images)[0], photos_vit)
    measures = encoders.choice.measures
    real = {measures[0]: scores.real_images(photos_vit), measures[1]: scores.real_images(photos_clip)}
    return SubjectScores(
        subject,
        measures,
        tuple(pictures),
        real,
        scores.diversity(vit, prompts),
        prior,
        SubjectProtocol.of(photos, prompts),
    )
