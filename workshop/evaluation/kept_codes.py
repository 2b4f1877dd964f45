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
from ar_core.training.frozen_distribution import code_logits
from ar_core.training.regularizers import with_image_concept
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


def logits_of_class(model: ARModel, class_name: str, image_vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(codes of all pictures, codes) each: of the frozen model, and with the vectors in place."""
    protocol = model.protocol
    size = model.family.recipe.size
    sentence = f"a photo of a {class_name}"
    prompt = protocol.prompt(sentence, size)
    held = with_image_concept(prompt, protocol, images=1, own=0)
    concepts = Concepts.stacked([image_vectors], protocol.identifier_base)
    drawn = model.generate([sentence] * PICTURES, SamplingSettings.resolve(model.family, seed=0))
    pictures = [image.codes[0] for image in drawn]
    frozen = [code_logits(model.base, protocol, prompt, picture, size) for picture in pictures]
    current = [code_logits(model.base, protocol, held, picture, size, concepts) for picture in pictures]
    return torch.cat(frozen), torch.cat(current)


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
