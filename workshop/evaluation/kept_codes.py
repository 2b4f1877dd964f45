"""Measures how much of the divergence from the frozen model is lost where only its most likely codes are kept.

    python -m workshop.evaluation.kept_codes --subjects teal_duck,sky_bear,plum_dog

For an image concept as it starts and as it is learned, on pictures of the class that the frozen model draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ar_core.concepts import Concepts
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.photos import Photo
from ar_core.sampling import SamplingSettings
from ar_core.tables import markdown_row, markdown_table
from ar_core.training import TrainingSettings, personalize, prepare_subject
from ar_core.training.examples import make_training_batch
from ar_core.training.top_codes import TopCodes

from ..world.subjects import TUNING
from .personalized_pictures import unseen_subject

COUNTS = (8, 16, 32, 64, 128, 256)
PICTURES = 4


def divergences(model: ARModel, class_name: str, image_vectors: Tensor) -> list[float]:
    """Nats per code by all codes, and by each of COUNTS, with `image_vectors` (depth, 1, hidden) in place."""
    frozen, current = logits_of_class(model, class_name, image_vectors)
    counts = (frozen.shape[-1], *COUNTS)
    return [TopCodes.of(frozen, count).divergence(current).item() for count in counts]


@torch.no_grad()
def logits_of_class(model: ARModel, class_name: str, image_vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(codes of all pictures, codes) each: of the frozen model, and with the vectors in place."""
    protocol = model.protocol
    size = model.family.recipe.size
    sentence = f"a photo of a {class_name}"
    prompt = protocol.prompt(sentence, size)
    place = protocol.concept_position()
    held = prompt[:place] + [protocol.identifier_base] + prompt[place:]
    drawn = model.generate([sentence] * PICTURES, SamplingSettings.resolve(model.family, seed=0))
    concepts = Concepts.stacked([image_vectors], protocol.identifier_base)
    found: list[list[Tensor]] = [[], []]
    for image in drawn:
        for ids, logits in zip((prompt, held), found, strict=True):
            batch = make_training_batch([(ids, image.codes[0])], protocol, size)
            hidden = model.base(model.base.embed(batch.ids), entering=concepts.placed_in(batch.ids))
            logits.append(model.base.image_logits(hidden[batch.targets >= 0]))
    return torch.cat(found[0]), torch.cat(found[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the process where None."""
    options = kept_codes_options().parse_args(arguments)
    model = ARModel.load(options.model)
    settings = TrainingSettings.resolve(model.family, strategy="deep", image_concept=True)
    head = ["subject", "image concept", "nats per code", *(f"of these by {count} codes" for count in COUNTS)]
    for line in markdown_table(head, []):
        print(line, flush=True)
    for name in options.subjects.split(","):
        unseen = unseen_subject(name, 1)
        photos = [Photo(str(number), image) for number, image in enumerate(unseen.photos)]
        subject = prepare_subject(model, photos, unseen.subject.kind, runs=options.folder)
        learned = personalize(model, subject, settings, options.folder)[-1].personalization
        assert learned.image_vectors is not None and learned.origin is not None
        own = learned.vectors.shape[1]
        for stage, vectors in (("at its start", learned.origin[:, own:]), ("learned", learned.image_vectors)):
            whole, *parts = divergences(model, unseen.subject.kind, vectors)
            shares = [f"{100 * part / whole:.1f} %" for part in parts]
            print(markdown_row([name, stage, f"{whole:.4f}", *shares]), flush=True)


def kept_codes_options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.kept_codes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folder = Path("runs/miniature/image_concept/before_the_header")
    parser.add_argument("--folder", type=Path, default=folder, help="where trainings are remembered")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--subjects", default=",".join(TUNING), help="names, separated by commas")
    return parser


if __name__ == "__main__":
    main()
