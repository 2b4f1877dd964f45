"""Measures what the notes on deep concepts leave open of an image concept, on subjects that no table reports.

    python -m workshop.evaluation.image_concept --subjects teal_duck,sky_bear,plum_dog --ways "in both rows"

Where exactly its position stands, whether it stands in the unguided row of guidance too, and how strongly it is held
back. Trainings are remembered, apart for every place: a run's name does not say where the position stood.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ar_core.dreambench.encoders import MINIATURE_SCORERS, Encoders
from ar_core.dreambench.fidelities import fidelities
from ar_core.dreambench.statistics import mean
from ar_core.families.protocol import Protocol, Size
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.photos import Photo, unstack
from ar_core.sampling import SamplingSettings
from ar_core.tables import markdown_row, markdown_table
from ar_core.text import Identifier
from ar_core.training import TrainingSettings, personalize, prepare_subject

from ..world.subjects import TUNING
from .evaluate import load_scorers
from .personalized_pictures import Unseen, unseen_subject


@dataclass(frozen=True)
class Position:
    """Where the image concept stands."""

    behind_header: bool  # directly before the first code, not before the header
    unguided: bool  # in the unguided row, too

    @property
    def place(self) -> str:
        """The part of it that a training depends on."""
        return "behind the header" if self.behind_header else "before the header"


@dataclass(frozen=True)
class Way:
    """How an image concept is learned and drawn. `weights`: of what holds it back."""

    position: Position
    weights: dict[str, Any]


BEFORE = Position(behind_header=False, unguided=False)
WAYS = {
    "before the header": Way(BEFORE, {}),
    "in both rows": Way(Position(behind_header=False, unguided=True), {}),
    "behind the header": Way(Position(behind_header=True, unguided=False), {}),
    "behind, in both rows": Way(Position(behind_header=True, unguided=True), {}),
    "context .0005": Way(BEFORE, {"context_weight": 5e-4}),
    "context .005": Way(BEFORE, {"context_weight": 5e-3}),
    "dual prior .01": Way(BEFORE, {"dual_prior_weight": 0.01}),
    "dual prior .3": Way(BEFORE, {"dual_prior_weight": 0.3}),
    "both, .005 and .3": Way(BEFORE, {"context_weight": 5e-3, "dual_prior_weight": 0.3}),
}


@dataclass(frozen=True, eq=False)
class PlacedProtocol(Protocol):
    """The miniature's protocol with the image concept somewhere else. One concept alone, of one vector."""

    position: Position

    def prompt(self, text: str, size: Size, identifiers: Sequence[Identifier] = ()) -> list[int]:
        ids = super().prompt(text, size, identifiers)
        image = self.image_id
        if not self.position.behind_header or image not in ids:
            return ids
        return [token for token in ids if token != image] + [image]

    def unguided(self, prompt: Sequence[int]) -> list[int]:
        kept = {self.image_id} if self.position.unguided else set()
        last = prompt[self.concept_position() - 1 :]  # the header, and one more that the image concept may be
        return [token for token in last if token in kept or self.is_of_header(token)]

    @property
    def image_id(self) -> int:
        """The reserved token behind that of the identifier."""
        return self.identifier_base + 1

    def is_of_header(self, token: int) -> bool:
        """Whether `token` starts a picture or is one of its size."""
        is_side = self.size_base is not None and self.size_base < token < self.identifier_base
        return is_side or token == self.image_start


def placed(model: ARModel, position: Position) -> ARModel:
    """`model` with the image concept at `position`."""
    own = {field.name: getattr(model.protocol, field.name) for field in fields(Protocol)}
    return replace(model, protocol=PlacedProtocol(**own, position=position))


def scores(model: ARModel, unseen: Unseen, way: Way, options: argparse.Namespace, scorers: Encoders) -> list[float]:
    """mini-ID and mini-CLIP-T of a subject's pictures, one at each of its places."""
    model = placed(model, way.position)
    runs = options.folder / "image_concept" / way.position.place.replace(" ", "_")
    photos = [Photo(str(number), image) for number, image in enumerate(unseen.photos)]
    subject = prepare_subject(model, photos, unseen.subject.kind, runs=runs)
    settings = TrainingSettings.resolve(
        model.family, strategy="deep", image_concept=True, seed=options.seed, **way.weights
    )
    learned = personalize(model, subject, settings, runs)[-1].personalization
    sampling = SamplingSettings.resolve(model.family, seed=100)
    drawn = model.personalized(learned).generate(unseen.prompts_with_identifier, sampling)
    pictures = [picture for image in drawn for picture in unstack(image.images)]
    likeness, _, prompt = fidelities(scorers, scorers.embed_images(unseen.photos), pictures, unseen.prompts)
    return [likeness.mean().item(), prompt.mean().item()]


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    options = image_concept_options().parse_args(arguments)
    model = ARModel.load(options.model)
    scorers = load_scorers(options.scorers)
    found: dict[str, list[list[float]]] = {name: [] for name in options.ways}
    for line in markdown_table(["subject", "image concept", "mini-ID", "mini-CLIP-T"], []):
        print(line, flush=True)
    for subject in options.subjects.split(","):
        for name in options.ways:
            one = scores(model, unseen_subject(subject, options.places), WAYS[name], options, scorers)
            found[name].append(one)
            print(markdown_row([subject, name, *(f"{value:.3f}" for value in one)]), flush=True)
    for name, rows in found.items():
        means = [mean(list(values)) for values in zip(*rows, strict=True)]
        print(markdown_row(["all", name, *(f"{value:.3f}" for value in means)]), flush=True)


def image_concept_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.image_concept",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="where trainings are remembered")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--scorers", default=MINIATURE_SCORERS, type=Path, help="a folder with identity/ and pairs/")
    parser.add_argument("--subjects", default=",".join(TUNING), help="names, separated by commas")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS), metavar="WAY")
    parser.add_argument("--places", type=int, default=10, help="pictures of each")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
