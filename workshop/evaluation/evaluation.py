"""The four parts of the miniature's evaluation; each gives its numbers, which are kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ar_core.files import atomic_write, json_value, read_json, weights_hash, write_image, write_json
from ar_core.model import ARModel
from ar_core.photos import Photo, unstack
from ar_core.sampling import SamplingSettings
from ar_core.sheets import picture_grid
from ar_core.training import Subject, TrainingSettings, personalize, prepare_subject

from ..making.lessons import SIDE, any_subject, scene_attributes
from ..making.loop import Log
from ..world.captions import describe_scene
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Scene
from ..world.scenes import Subject as DrawnSubject
from ..world.subjects import IN_RANGE, SUBJECTS, TUNING, drawn_photos
from ..world.vocabulary import PLACES
from .intervals import Numbers, mean_interval, wilson_interval
from .judges import AttributeJudge, IdentityJudge
from .pictures import BATCH, distractors_of_class, held_out_scenes, reconstructed_pictures, reconstruction_psnr

SIZE = 96  # pixels of the miniature's pictures
CELL = 144  # pixels of a sheet's pictures
BASE_CFG = 4.0  # the paper's guidance, at which the base is judged beside its recipe's own
PHOTOS = 5
REFERENCES = 4  # pictures of each subject in a gallery
BEFORE = "before"
DRAWN = "drawn"
# What pictures of a subject come from.
CONDITIONS = {
    BEFORE: "the class word alone",
    "embedding_only": "stage 1",
    "two_stage": "both stages",
    DRAWN: "drawings of the subject through the image tokenizer: what could be reached",
}
MEASURES = ("identity", "place", "both")

Hit = list[int]  # identity right, place right


@dataclass(frozen=True)
class Effort:
    """How much is measured; `training` shortens the recipe, for trying the evaluation out."""

    images: int = 500
    judge_steps: int = 4000
    galleries: int = 300
    subjects: tuple[str, ...] = tuple(SUBJECTS)
    seeds: tuple[int, ...] = (0, 1, 2)
    places: int = 6
    training: dict[str, Any] = field(default_factory=dict)


ASKS = {  # what of an effort decides each part's numbers
    "judges": ("images", "judge_steps", "galleries"),
    "reconstruction": ("images",),
    "samples": ("images",),
    "personalization": ("subjects", "seeds", "places", "training"),
}


class Evaluation:
    """Measures `model` with two judges; numbers, samples and trainings are kept below `folder`, pictures in `sheets`.

    What another model, recipe, judge or effort gave is never taken for the present one's.
    """

    def __init__(
        self,
        model: ARModel,
        attributes: AttributeJudge,
        identity: IdentityJudge,
        effort: Effort,
        folder: Path,
        sheets: Path,
        log: Log = print,
    ):
        self.model = model
        self.attributes = attributes
        self.identity = identity
        self.effort = effort
        self.log = log
        recipe = json.dumps([asdict(model.family.recipe), effort.training], sort_keys=True)
        self.folder = folder / f"evaluation-{evaluated_digest([model.transformer, model.image_tokenizer], recipe)}"
        self.sheets = sheets
        self.trainings = folder / "evaluation_runs"
        for path in (self.folder, sheets):
            path.mkdir(parents=True, exist_ok=True)

    def run(self) -> dict[str, dict[str, Any]]:
        """The numbers of every part, by its name."""
        parts: list[Callable[[], dict[str, Any]]] = [self.judges, self.reconstruction, self.samples]
        if self.effort.subjects:
            parts.append(self.personalization)
        return {part.__name__: self._part(part) for part in parts}

    def _part(self, part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The numbers kept from before where they answer the same question, else new ones."""
        path = self.folder / f"{part.__name__}.json"
        effort = {name: value for name, value in asdict(self.effort).items() if name in ASKS[part.__name__]}
        asked = json_value({"judges": evaluated_digest([self.attributes, self.identity]), **effort})
        kept = read_json(path) if path.exists() else {}
        if kept.get("asked") != asked:
            kept = {"asked": asked, "found": part()}
            write_json(path, kept)
        self.log(f"{part.__name__}: {json.dumps(kept['found'])}")
        return kept["found"]

    # ---------------------------------------------------------------- the judges themselves

    def judges(self) -> dict[str, Any]:
        """How right the judges are about drawings, and about drawings that went through the image tokenizer."""
        scenes = held_out_scenes(self.effort.images, "judged scenes")
        truth = [scene_attributes(scene) for scene in scenes]
        drawings = [draw_scene(scene, SIZE) for scene in scenes]
        return {
            "drawings": judged_accuracies(truth, self.attributes.answers(drawings)),
            "reconstructions": judged_accuracies(
                truth, self.attributes.answers(reconstructed_pictures(self.model, drawings))
            ),
            "retrieval": self._retrieval(),
        }

    def _retrieval(self) -> dict[str, Numbers]:
        """How often the identity judge finds a subject among others of its class."""
        rng = random.Random("judged identities")
        hits = {"drawings": 0, "reconstructions": 0}
        for _ in range(self.effort.galleries):
            subject = any_subject(rng)
            places = rng.sample(list(PLACES), REFERENCES + 1)
            picture = draw_scene(random_scene(rng, subject, places[-1]), SIZE)
            gallery = self._gallery(rng, [subject, *distractors_of_class(rng, subject.kind)], places[:-1])
            hits["drawings"] += self._retrieved(picture, gallery)
            hits["reconstructions"] += self._retrieved(reconstructed_pictures(self.model, [picture])[0], gallery)
        return {name: wilson_interval(count, self.effort.galleries) for name, count in hits.items()}

    # ---------------------------------------------------------------- the image tokenizer

    def reconstruction(self) -> dict[str, Numbers]:
        """Decibels of held-out scenes and of the unseen subjects' photos after encoding and decoding."""
        scenes = [draw_scene(scene, SIZE) for scene in held_out_scenes(self.effort.images, "reconstructed scenes")]
        unseen = [image for name in SUBJECTS for image, _ in drawn_photos(name, PHOTOS, SIZE)]
        return {
            "held-out scenes": mean_interval(reconstruction_psnr(self.model, scenes)),
            "unseen subjects": mean_interval(reconstruction_psnr(self.model, unseen)),
        }

    # ---------------------------------------------------------------- the base model

    def samples(self) -> dict[str, dict[str, Numbers]]:
        """Samples of combinations that training left out, at two strengths of guidance."""
        scenes = held_out_scenes(self.effort.images, "sampled scenes")
        truth = [scene_attributes(scene) for scene in scenes]
        found = {}
        rows = []
        labels = []
        for cfg in dict.fromkeys((BASE_CFG, self.model.family.recipe.cfg)):
            pictures = self._held_out(scenes, cfg)
            found[f"cfg {cfg:g}"] = judged_accuracies(truth, self.attributes.answers(pictures))
            for start in range(0, min(32, len(scenes)), 8):
                rows.append(pictures[start : start + 8])
                sentences = [describe_scene(scene) for scene in scenes[start : start + 8]]
                labels.append(f"cfg {cfg:g}: " + "  |  ".join(sentences))
        write_image(self.sheets / "samples.png", picture_grid(rows, cell=CELL, labels=labels))
        return found

    def _held_out(self, scenes: Sequence[Scene], cfg: float) -> list[Image.Image]:
        settings = SamplingSettings.resolve(self.model.family, seed=0, cfg=cfg)
        pictures: list[Image.Image] = []
        for first in range(0, len(scenes), BATCH):
            prompts = [describe_scene(scene) for scene in scenes[first : first + BATCH]]
            name = f"held-out-{cfg:g}-{first:05d}-{len(prompts)}"
            pictures += self._sampled(name, self.model, prompts, settings, first)
            self.log(f"sampled {len(pictures)}/{len(scenes)} at cfg {cfg:g}")
        return pictures

    # ---------------------------------------------------------------- personalization

    def personalization(self, conditions: Sequence[str] = tuple(CONDITIONS)) -> dict[str, dict[str, Any]]:
        """Every unseen subject at new places, with several training seeds: is it the subject, and is it there?"""
        found: dict[str, dict[str, list[Hit]]] = {condition: {} for condition in conditions}
        for name in self.effort.subjects:
            for condition, hits in self._subject(name, conditions).items():
                found[condition][name] = hits
                both = np.mean([identity and place for identity, place in hits])
                self.log(f"{name}, {condition}: identity and place right in {both:.2f}")
        return {condition: summarize_hits(by_subject) for condition, by_subject in found.items()}

    def _subject(self, name: str, conditions: Sequence[str]) -> dict[str, list[Hit]]:
        """By condition, what was right for every training seed and place."""
        drawn = {**SUBJECTS, **TUNING}[name]
        shown = drawn_photos(name, PHOTOS)
        photos = [image for image, _ in shown]
        seen = [scene.place for _, scene in shown]
        places = [place for place in PLACES if place not in seen][: self.effort.places]
        subject = prepare_subject(
            self.model, [Photo(str(i), image) for i, image in enumerate(photos)], drawn.kind, runs=self.trainings
        )
        rng = random.Random(f"gallery {name}")
        others = [*distractors_of_class(rng, drawn.kind), *(other for key, other in SUBJECTS.items() if key != name)]
        gallery = [self.identity.vectors(photos[:REFERENCES]), *self._gallery(rng, others, seen[:REFERENCES])]
        pictures: dict[str, list[list[Image.Image]]] = {condition: [] for condition in conditions}
        for seed in self.effort.seeds:
            for condition in conditions:
                if condition == DRAWN:
                    row = self._drawn(rng, drawn, places)
                else:
                    row = self._personalized(name, subject, condition, seed, places)
                pictures[condition].append(row)
        self._write_sheet(name, photos, pictures, places)
        return {condition: self._judged(rows, gallery, places) for condition, rows in pictures.items()}

    def _judged(self, rows: list[list[Image.Image]], gallery: list[Tensor], places: Sequence[str]) -> list[Hit]:
        hits = []
        for row in rows:
            for place, picture in zip(places, row, strict=True):
                there = self.attributes.answers([picture])[0]["place"] == place
                hits.append([int(self._retrieved(picture, gallery)), int(there)])
        return hits

    def _write_sheet(
        self,
        name: str,
        photos: list[Image.Image],
        pictures: dict[str, list[list[Image.Image]]],
        places: Sequence[str],
    ) -> None:
        rows = []
        labels = []
        for condition, by_seed in pictures.items():
            for number, row in enumerate(by_seed):
                rows.append([photos[number % PHOTOS], *row])
                meaning = CONDITIONS.get(condition, condition)
                labels.append(f"{condition}: {meaning}; training seed {self.effort.seeds[number]}")
        sheet = picture_grid(rows, cell=CELL, columns=["photo", *places], labels=labels, title=name)
        write_image(self.sheets / f"{name}.png", sheet)

    def _drawn(self, rng: random.Random, subject: DrawnSubject, places: Sequence[str]) -> list[Image.Image]:
        drawings = [draw_scene(random_scene(rng, subject, place), SIZE) for place in places]
        return reconstructed_pictures(self.model, drawings)

    def _personalized(
        self, name: str, subject: Subject, condition: str, seed: int, places: Sequence[str]
    ) -> list[Image.Image]:
        strategy = condition
        strength = 1.0
        if condition == BEFORE:
            strategy = "embedding_only"
            strength = 0.0  # leaves the base, whatever was learned
        settings = TrainingSettings.resolve(self.model.family, strategy=strategy, seed=seed, **self.effort.training)
        learned = personalize(self.model, subject, settings, self.trainings)[-1].personalization
        prompts = [f"a photo of [V] {subject.class_name} {PLACES[place]}" for place in places]
        model = self.model.personalized(learned, strength)
        sampling = SamplingSettings.resolve(self.model.family, seed=100 + seed)
        return self._sampled(f"{name}-{condition}-{seed}-{len(places)}", model, prompts, sampling)

    # ---------------------------------------------------------------- what the parts share

    def _sampled(
        self, name: str, model: ARModel, prompts: list[str], settings: SamplingSettings, first: int = 0
    ) -> list[Image.Image]:
        """One picture per prompt; the codes are kept under `name`."""
        path = self.folder / "samples" / f"{name}.npy"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            codes = torch.cat([sample.codes for sample in model.generate(prompts, settings, first_image=first)])
            with atomic_write(path) as file:
                np.save(file, codes.numpy().astype(np.uint16))
        return unstack(self.model.decode(torch.from_numpy(np.load(path).astype(np.int64))))

    def _gallery(self, rng: random.Random, subjects: Sequence[DrawnSubject], places: Sequence[str]) -> list[Tensor]:
        """Each subject's reference pictures as vectors, all at the same places so that no place speaks for anyone."""
        return [
            self.identity.vectors([draw_scene(random_scene(rng, subject, place), SIDE) for place in places])
            for subject in subjects
        ]

    def _retrieved(self, picture: Image.Image, gallery: list[Tensor]) -> bool:
        """Whether gallery entry 0 is nearest to the picture, by its mean similarity to an entry's references."""
        vector = self.identity.vectors([picture])[0]
        similarities = torch.stack([(references @ vector).mean() for references in gallery])
        return int(similarities.argmax()) == 0


def evaluated_digest(modules: Sequence[nn.Module], more: str = "") -> str:
    """A name for these weights."""
    return weights_hash(modules, more)[:12]


def judged_accuracies(truth: list[dict[str, str]], seen: list[dict[str, str]]) -> dict[str, Numbers]:
    """Share of right answers by attribute, and of pictures with class, colour and place all right, with intervals."""
    pairs = list(zip(truth, seen, strict=True))
    result = {}
    for name in truth[0]:
        result[name] = wilson_interval(sum(true[name] == said[name] for true, said in pairs), len(pairs))
    all_three = 0
    for true, said in pairs:
        all_three += all(true[name] == said[name] for name in ("class", "colour", "place"))
    return {**result, "class & colour & place": wilson_interval(all_three, len(pairs))}


def summarize_hits(by_subject: dict[str, list[Hit]]) -> dict[str, Any]:
    """Identity, place and both, per subject and over groups of subjects (intervals: bootstrap over subjects)."""
    rates = {}
    for name, hits in by_subject.items():
        rates[name] = np.array([[identity, place, identity and place] for identity, place in hits]).mean(0)
    in_range = [name for name in rates if name in IN_RANGE]
    groups = {"in range": in_range, "out of range": [n for n in rates if n not in in_range], "all": list(rates)}
    subjects = {name: dict(zip(MEASURES, rate.round(3).tolist(), strict=True)) for name, rate in rates.items()}
    result: dict[str, Any] = {"subjects": subjects}
    for group, names in groups.items():
        if not names:
            continue
        result[group] = {}
        for index, measure in enumerate(MEASURES):
            result[group][measure] = mean_interval([float(rates[name][index]) for name in names])
    return result
