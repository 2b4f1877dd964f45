"""Pictures of a subject that no training saw, by every strategy: what its judges look at."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

from PIL import Image
from torch import Tensor

from ar_core.photos import Photo
from ar_core.sampling import SamplingSettings
from ar_core.training import TrainingSettings, personalize, prepare_subject

from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Subject
from ..world.subjects import SUBJECTS, TUNING, drawn_photos
from ..world.vocabulary import PLACES
from .effort import PHOTOS
from .pictures import SIZE, reconstructed_pictures
from .sampled_pictures import codes_of
from .setup import Setup

BEFORE = "before"
DRAWN = "drawn"
# What pictures of a subject come from.
CONDITIONS = {
    BEFORE: "the class word alone",
    "embedding_only": "stage 1",
    "two_stage": "both stages",
    DRAWN: "drawings of the subject through the image tokenizer: what could be reached",
}


@dataclass(frozen=True)
class Unseen:
    """A subject, its photos with the places they show, and places that none of them shows."""

    name: str
    subject: Subject
    photos: list[Image.Image]
    seen: list[str]
    places: list[str]

    @property
    def prompts(self) -> list[str]:
        """What is asked for, the identifier left out."""
        return [f"a photo of a {self.subject.kind} {PLACES[place]}" for place in self.places]

    @property
    def prompts_with_identifier(self) -> list[str]:
        return [f"a photo of [V] {self.subject.kind} {PLACES[place]}" for place in self.places]


def unseen_subject(name: str, places: int) -> Unseen:
    """The benchmark's or the tuning subject of this name."""
    shown = drawn_photos(name, PHOTOS)
    seen = [scene.place for _, scene in shown]
    new = [place for place in PLACES if place not in seen]
    return Unseen(name, {**SUBJECTS, **TUNING}[name], [image for image, _ in shown], seen, new[:places])


def pictures_of_subject(setup: Setup, unseen: Unseen, condition: str, seed: int) -> list[Image.Image]:
    """One picture at each of its places; what was trained or sampled before is not made again."""
    if condition == DRAWN:
        rng = random.Random(f"drawn {unseen.name} {seed}")
        drawings = [draw_scene(random_scene(rng, unseen.subject, place), SIZE) for place in unseen.places]
        return reconstructed_pictures(setup.model, drawings)
    training = training_settings(setup, condition, seed)
    sampling = SamplingSettings.resolve(setup.model.family, seed=100 + seed)
    asked = (training.describe(), asdict(sampling), asdict(unseen.subject), unseen.prompts_with_identifier)
    return setup.samples.kept(
        f"{unseen.name}-{condition}-{seed}",
        asked,
        lambda: _sampled_codes(setup, unseen, condition, training, sampling),
    )


def training_settings(setup: Setup, condition: str, seed: int) -> TrainingSettings:
    """How a subject is learned for a condition. Without any training there would be no identifier to ask for."""
    strategy = condition
    if condition == BEFORE:
        strategy = "embedding_only"
    return TrainingSettings.resolve(setup.model.family, strategy=strategy, seed=seed, **setup.effort.training)


def _sampled_codes(
    setup: Setup, unseen: Unseen, condition: str, training: TrainingSettings, sampling: SamplingSettings
) -> Tensor:
    photos = [Photo(str(number), image) for number, image in enumerate(unseen.photos)]
    subject = prepare_subject(setup.model, photos, unseen.subject.kind, runs=setup.runs)
    learned = personalize(setup.model, subject, training, setup.runs)[-1].personalization
    strength = 1.0
    if condition == BEFORE:
        strength = 0.0  # leaves the base, whatever was learned
    return codes_of(setup.model.personalized(learned, strength), unseen.prompts_with_identifier, sampling)
