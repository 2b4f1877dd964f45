"""Measures two learned subjects in one picture: does each stand in its own half, and as itself?

    python -m workshop.evaluation.two_subjects --model workshop/second_edition --folder runs/two_subjects

Pairs are of subjects for choosing, which no table reports, each with each. Deep concepts with the identity mask (the
positions of one do not attend to those of the other) are compared with the same concepts without it, with blended
LoRAs, and with the class words alone. Trainings are remembered below the folder; `two_subjects.json` has every number,
`two_subjects.png` shows the pictures.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ar_core.attention import IdentityMask
from ar_core.concepts import Concepts
from ar_core.dreambench.encoders import MINIATURE_SCORERS, Encoders
from ar_core.dreambench.statistics import mean, mean_difference
from ar_core.files import write_image, write_json
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.personalization import Personalization
from ar_core.photos import Photo, unstack
from ar_core.sampling import SamplingSettings
from ar_core.sheets import picture_grid
from ar_core.training import TrainingSettings, personalize, prepare_subject

from ..making.loop import Log, timed_log
from ..world.vocabulary import PLACES
from .evaluate import load_scorers
from .halves import Gallery, Half, halves_of, measured_halves
from .intervals import Numbers, interval_table, mean_interval
from .personalized_pictures import Unseen, unseen_subject
from .pictures import CELL

# Six pairs of four trainings. Words nearly describe them, so a frozen model can learn them best.
COMPARED = ("pink_sneaker", "teal_duck", "teal_backpack", "purple_candle")
SHOWN_PLACES = ("beach", "snow", "garden", "carpet")
SHOWN = 6  # pictures in a row of the sheet
MAIN = "deep"  # what the other conditions are compared with


class Together(Concepts):
    """Concepts that are not kept apart from each other."""

    def identity_mask(self, ids: Tensor) -> IdentityMask | None:
        return None


class ApartInAllLayers(Concepts):
    """Concepts that are kept apart also in the layers above them."""

    def identity_mask(self, ids: Tensor) -> IdentityMask | None:
        apart = super().identity_mask(ids)
        if apart is None:
            return None
        return lambda layer: apart(0)


@dataclass(frozen=True, eq=False)
class OtherwiseApart(ARModel):
    """A model whose concepts are kept apart in another way, `kind`."""

    kind: type[Concepts] = Concepts

    @property
    def concepts(self) -> Concepts | None:
        """The same vectors at the same positions."""
        concepts = super().concepts
        if concepts is None:
            return None
        return self.kind(concepts.vectors, concepts.depths, concepts.first_id, concepts.owners)

    @classmethod
    def like(cls, model: ARModel, kind: type[Concepts]) -> OtherwiseApart:
        """`model` with its concepts kept apart as `kind` does it."""
        return cls(**{field.name: getattr(model, field.name) for field in fields(model)}, kind=kind)


@dataclass(frozen=True)
class Condition:
    """How two subjects come into one picture."""

    meaning: str
    strategy: str
    image_concept: bool = False
    strength: float = 1.0
    apart: type[Concepts] | None = None  # how they are kept apart, where not as the model does it


CONDITIONS = {
    MAIN: Condition("deep concepts, kept apart", "deep"),
    "deep_together": Condition("the same, not kept apart", "deep", apart=Together),
    "deep_apart": Condition("the same, kept apart in all layers", "deep", apart=ApartInAllLayers),
    "deep_image": Condition("with positions before the picture, kept apart", "deep", image_concept=True),
    "deep_image_together": Condition("the same, not kept apart", "deep", image_concept=True, apart=Together),
    "deep_two_stage": Condition("deep concepts kept apart, their LoRAs blended", "deep_two_stage"),
    "lora": Condition("both stages, the LoRAs blended", "two_stage"),
    "words": Condition("the class words alone", "deep", strength=0.0),
}


@dataclass(frozen=True)
class Pair:
    """Two subjects, and the prompts for them: each with the subject named first at its left, then at its right."""

    first: Unseen
    second: Unseen
    places: Sequence[str]

    @property
    def title(self) -> str:
        return f"{self.first.name} and {self.second.name}"

    @property
    def prompts(self) -> list[str]:
        one = f"a [V] {self.first.subject.kind}"
        other = f"a [W] {self.second.subject.kind}"
        return [
            f"{one} to the {side} of {other} {PLACES[place]}" for place in self.places for side in ("left", "right")
        ]

    def halves(self, pictures: Sequence[Image.Image]) -> tuple[list[Image.Image], list[Image.Image]]:
        """The halves that should show the first subject, and those that should show the second."""
        firsts = []
        seconds = []
        for number, picture in enumerate(pictures):
            left, right = halves_of(picture)
            if number % 2:
                left, right = right, left
            firsts.append(left)
            seconds.append(right)
        return firsts, seconds


class Comparison:
    """Learns the subjects, draws the pairs under every condition, and measures the pictures."""

    def __init__(self, model: ARModel, scorers: Encoders, folder: Path, training: Mapping[str, Any], log: Log = print):
        """`training`: settings that are not the recipe's."""
        self.model = model
        self.scorers = scorers
        self.folder = folder
        self.training = dict(training)
        self.log = log
        self.galleries: dict[str, Gallery] = {}

    def pictures(self, pair: Pair, condition: Condition, seed: int) -> list[Image.Image]:
        """One of each prompt."""
        model = self.model
        if condition.apart is not None:
            model = OtherwiseApart.like(model, condition.apart)
        model = model.personalized(self.learned(pair.first, condition), condition.strength, "[V]")
        model = model.personalized(self.learned(pair.second, condition), condition.strength, "[W]")
        settings = SamplingSettings.resolve(model.family, seed=seed)
        return [unstack(drawn.images)[0] for drawn in model.generate(pair.prompts, settings)]

    def learned(self, unseen: Unseen, condition: Condition) -> Personalization:
        """A subject as a condition wants it; what was learned before is remembered."""
        photos = [Photo(str(number), image) for number, image in enumerate(unseen.photos)]
        runs = self.folder / "runs"
        subject = prepare_subject(self.model, photos, unseen.subject.kind, runs=runs)
        chosen = {**self.training, "image_concept": condition.image_concept}
        settings = TrainingSettings.resolve(self.model.family, strategy=condition.strategy, **chosen)
        return personalize(self.model, subject, settings, runs, samples=0)[-1].personalization

    def measured(self, pair: Pair, pictures: Sequence[Image.Image]) -> list[tuple[Half, Half]]:
        """Of every picture the half of the first and the half of the second subject."""
        one = self._gallery(pair.first)
        other = self._gallery(pair.second)
        firsts, seconds = pair.halves(pictures)
        found = measured_halves(self.scorers, firsts, one, other)
        return list(zip(found, measured_halves(self.scorers, seconds, other, one), strict=True))

    def _gallery(self, unseen: Unseen) -> Gallery:
        if unseen.name not in self.galleries:
            self.galleries[unseen.name] = Gallery.of(self.scorers, unseen)
        return self.galleries[unseen.name]


def pairs_of(subjects: Sequence[str], places: Sequence[str]) -> list[Pair]:
    """Each with each."""
    unseen = [unseen_subject(name, len(places)) for name in subjects]
    return [Pair(one, other, places) for one, other in itertools.combinations(unseen, 2)]


def rates_of(halves: Sequence[tuple[Half, Half]]) -> dict[str, float]:
    """Means over the pictures of one pair."""
    each = [half for both in halves for half in both]
    return {
        "own photos": mean([half.own for half in each]),
        "other's photos": mean([half.other for half in each]),
        "in its half": mean([float(half.retrieved) for half in each]),
        "both in their halves": mean([float(one.retrieved and other.retrieved) for one, other in halves]),
        "identified": mean([float(half.identified) for half in each]),
    }


def over_pairs(rates: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Numbers]]:
    """By condition and measure: the mean over pairs with its interval, a little too narrow: pairs share subjects."""
    return {
        condition: {measure: mean_interval([of_pair[measure] for of_pair in by_pair]) for measure in by_pair[0]}
        for condition, by_pair in rates.items()
    }


def differences(rates: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """What the main condition has over each of the others, pair by pair."""
    lines = []
    for condition, by_pair in rates.items():
        if condition == MAIN or MAIN not in rates:
            continue
        for measure in by_pair[0]:
            gained = [one[measure] - other[measure] for one, other in zip(rates[MAIN], by_pair, strict=True)]
            lines.append(f"{MAIN} - {condition}, {measure}: {mean_difference(gained)}")
    return lines


def write_numbers(path: Path, options: argparse.Namespace, rates: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """What was asked, and the rates of every pair under every condition."""
    asked = {"model": str(options.model), "subjects": options.subjects, "places": options.places, "seed": options.seed}
    write_json(path, {**asked, "rates": rates})


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    options = two_subjects_options().parse_args(arguments)
    log = timed_log()
    training = {}
    if options.steps is not None:
        training = dict.fromkeys(("deep_steps", "embedding_steps", "layer_steps"), options.steps)
    scorers = load_scorers(options.scorers)
    comparison = Comparison(ARModel.load(options.model), scorers, options.folder, training, log)
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in options.conditions}
    rows = []
    labels = []
    for pair in pairs_of(options.subjects, options.places):
        for name in options.conditions:
            pictures = comparison.pictures(pair, CONDITIONS[name], options.seed)
            rates[name].append(rates_of(comparison.measured(pair, pictures)))
            log(f"{pair.title}, {name}: " + ", ".join(f"{key} {value:.2f}" for key, value in rates[name][-1].items()))
            rows.append([pair.first.photos[0], pair.second.photos[0], *pictures[:SHOWN]])
            labels.append(f"{name}: {CONDITIONS[name].meaning}; {', '.join(pair.prompts[:2])}, ...")
        # After every pair: what is stopped leaves what it has.
        write_numbers(options.folder / "two_subjects.json", options, rates)
        sheet = picture_grid(rows, cell=CELL, labels=labels, title="Two subjects in one picture, by tuning subjects")
        write_image(options.folder / "two_subjects.png", sheet)
    for line in [*interval_table(over_pairs(rates)), "", *differences(rates)]:
        print(line)


def two_subjects_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.two_subjects",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/two_subjects"), help="trainings, numbers and sheet")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--scorers", default=MINIATURE_SCORERS, type=Path, help="a folder with identity/ and pairs/")
    parser.add_argument("--subjects", nargs="+", default=COMPARED, help="each is paired with each")
    parser.add_argument("--places", nargs="+", default=SHOWN_PLACES, choices=list(PLACES))
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--seed", type=int, default=0, help="of the pictures")
    parser.add_argument("--steps", type=int, help="of every stage, only to try it out (default: the recipe's)")
    return parser


if __name__ == "__main__":
    main()
