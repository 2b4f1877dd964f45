"""From pictures and photos to numbers, per picture, per subject, and over subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from . import scores
from .encoders import Encoders


@dataclass(frozen=True)
class ScoredPicture:
    subject: str
    prompt: str
    file: str
    capability: str
    values: tuple[float, float, float]  # in the order of `SubjectScores.measures`
    nearest_photo: float  # cosine of the ViT (DINO)
    copied: bool


@dataclass(frozen=True)
class SubjectScores:
    """One subject: its pictures, and what its own photos reach among themselves."""

    subject: str
    measures: tuple[str, str, str]  # such as DINO, CLIP-I, CLIP-T
    pictures: tuple[ScoredPicture, ...]
    real: dict[str, float]
    diversity: float
    prior: float  # nan without class images

    def mean(self, measure: str, capability: str = "") -> float:
        index = self.measures.index(measure)
        values = [picture.values[index] for picture in self.pictures if capability in ("", picture.capability)]
        return sum(values) / len(values) if values else float("nan")

    @property
    def copied(self) -> float:
        return sum(picture.copied for picture in self.pictures) / len(self.pictures)


def score_subject(
    encoders: Encoders,
    subject: str,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    photos: Sequence[Image.Image],
    *,
    files: Sequence[str] = (),
    capability: Callable[[str], str] = lambda prompt: "",
    class_images: Sequence[Image.Image] = (),
) -> SubjectScores:
    """Score one subject's pictures; `prompts` are the plain sentences, one per picture."""
    if not images or len(images) != len(prompts) or not photos:
        raise ValueError(
            f"{subject}: {len(images)} pictures, {len(prompts)} prompts, {len(photos)} photos; each picture needs a prompt."
        )
    vit, clip = encoders.look(images)
    photos_vit, photos_clip = encoders.look(photos)
    sentences = list(dict.fromkeys(prompts))
    texts = encoders.read(sentences)[[sentences.index(prompt) for prompt in prompts]]
    copies = scores.copy_check(vit, photos_vit)
    fidelity = (
        scores.subject_fidelity(vit, photos_vit),
        scores.subject_fidelity(clip, photos_clip),
        scores.prompt_fidelity(clip, texts),
    )
    columns = zip(zip(*(values.tolist() for values in fidelity)), copies.nearest.tolist(), copies.suspected.tolist())
    files = files or [str(number) for number in range(len(images))]
    pictures = tuple(
        ScoredPicture(subject, prompt, file, capability(prompt), *values)
        for file, prompt, values in zip(files, prompts, columns, strict=True)
    )
    prior = scores.prior_preservation(encoders.look(class_images)[0], photos_vit) if class_images else float("nan")
    measures = encoders.choice.measures
    real = dict(zip(measures, (scores.real_images(photos_vit), scores.real_images(photos_clip))))
    return SubjectScores(subject, measures, pictures, real, scores.diversity(vit, prompts), prior)


REAL = "real images (different photos of a subject)"


@dataclass(frozen=True)
class Row:
    """One line of a table: a method with (mean, low, high) per measure."""

    method: str
    values: dict[str, tuple[float, float, float]]


def table(subjects: Sequence[SubjectScores], method: str = "these pictures") -> list[Row]:
    """The real-images bound, the pictures, and the pictures of each kind of prompt; intervals by bootstrap over subjects."""
    real = {measure: scores.bootstrap([subject.real[measure] for subject in subjects]) for measure in subjects[0].real}
    rows = [Row(REAL, real), Row(method, over(subjects))]
    kinds = sorted({picture.capability for subject in subjects for picture in subject.pictures} - {""})
    return rows + [Row(f"{method}: {kind}", over(subjects, kind)) for kind in kinds if len(kinds) > 1]


def over(subjects: Sequence[SubjectScores], kind: str = "") -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of every measure: per subject first, then over subjects; of one kind of prompt where given."""
    return {
        measure: scores.bootstrap([subject.mean(measure, kind) for subject in subjects])
        for measure in subjects[0].measures
    }


def difference(
    first: Sequence[SubjectScores], second: Sequence[SubjectScores]
) -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of first - second, paired by subject: an interval without zero is an effect beyond the subjects' spread."""
    others = {subject.subject: subject for subject in second}
    pairs = [(subject, others[subject.subject]) for subject in first if subject.subject in others]
    return {
        measure: scores.bootstrap([a.mean(measure) - b.mean(measure) for a, b in pairs])
        for measure in first[0].measures
    }
