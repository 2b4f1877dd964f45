"""From pictures and photos to numbers, per picture, per subject, and over subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from . import scores
from .encoders import Encoders

MEASURES = ("DINO", "CLIP-I", "CLIP-T")


@dataclass(frozen=True)
class ScoredPicture:
    subject: str
    prompt: str
    file: str
    capability: str
    dino: float
    clip_i: float
    clip_t: float
    nearest_photo: float  # DINO cosine
    copied: bool

    @property
    def values(self) -> tuple[float, float, float]:
        return self.dino, self.clip_i, self.clip_t


@dataclass(frozen=True)
class SubjectScores:
    """One subject: its pictures, and what its own photos reach among themselves."""

    subject: str
    pictures: tuple[ScoredPicture, ...]
    real: dict[str, float]
    diversity: float
    prior: float  # nan without class images

    def mean(self, measure: str, capability: str = "") -> float:
        index = MEASURES.index(measure)
        values = [picture.values[index] for picture in self.pictures if capability in ("", picture.capability)]
        return sum(values) / len(values) if values else float("nan")

    @property
    def copied(self) -> float:
        return sum(picture.copied for picture in self.pictures) / len(self.pictures)


def score_subject(
    encoders: Encoders, subject: str, images: Sequence[Image.Image], prompts: Sequence[str], photos: Sequence[Image.Image], *,
    files: Sequence[str] = (), capability: Callable[[str], str] = lambda prompt: "", class_images: Sequence[Image.Image] = (),
) -> SubjectScores:  # fmt: skip
    """Score one subject's pictures; `prompts` are the plain sentences, one per picture."""
    if not images or len(images) != len(prompts) or not photos:
        raise ValueError(f"{subject}: {len(images)} pictures, {len(prompts)} prompts, {len(photos)} photos; each picture needs a prompt.")
    dino, clip = encoders.look(images)
    photos_dino, photos_clip = encoders.look(photos)
    sentences = list(dict.fromkeys(prompts))
    texts = encoders.read(sentences)[[sentences.index(prompt) for prompt in prompts]]
    copies = scores.copy_check(dino, photos_dino)
    columns = zip(
        scores.subject_fidelity(dino, photos_dino).tolist(), scores.subject_fidelity(clip, photos_clip).tolist(),
        scores.prompt_fidelity(clip, texts).tolist(), copies.nearest.tolist(), copies.suspected.tolist(),
    )  # fmt: skip
    files = files or [str(number) for number in range(len(images))]
    pictures = tuple(
        ScoredPicture(subject, prompt, file, capability(prompt), *values)
        for file, prompt, values in zip(files, prompts, columns, strict=True)
    )
    prior = scores.prior_preservation(encoders.look(class_images)[0], photos_dino) if class_images else float("nan")
    real = {"DINO": scores.real_images(photos_dino), "CLIP-I": scores.real_images(photos_clip)}
    return SubjectScores(subject, pictures, real, scores.diversity(dino, prompts), prior)


@dataclass(frozen=True)
class Row:
    """One line of a table: a method with (mean, low, high) per measure."""

    method: str
    values: dict[str, tuple[float, float, float]]


def table(subjects: Sequence[SubjectScores], method: str = "these pictures") -> list[Row]:
    """The real-images bound, the pictures, and the pictures of each kind of prompt; intervals by bootstrap over subjects."""
    real = {measure: scores.bootstrap([subject.real[measure] for subject in subjects]) for measure in ("DINO", "CLIP-I")}
    rows = [Row("real images (different photos of a subject)", real), Row(method, _over(subjects))]
    kinds = sorted({picture.capability for subject in subjects for picture in subject.pictures} - {""})
    return rows + [Row(f"{method}: {kind}", _over(subjects, kind)) for kind in kinds if len(kinds) > 1]


def _over(subjects: Sequence[SubjectScores], kind: str = "") -> dict[str, tuple[float, float, float]]:
    return {measure: scores.bootstrap([subject.mean(measure, kind) for subject in subjects]) for measure in MEASURES}
