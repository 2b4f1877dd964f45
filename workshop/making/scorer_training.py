"""Trains the miniature's own scorers and writes them in transformers' formats:

    python -m workshop.making.scorer_training --folder runs/miniature

- `identity`: a ViT whose CLS output is close for pictures of one subject at different places (InfoNCE, van den Oord et
  al. 2018). Other places, poses and sometimes a missing accessory on one side: a copied backdrop earns nothing.
- `pairs`: a CLIP-shaped text-image encoder (Radford et al. 2021).

Both learn from drawings with the softness of decoded ones. They stand where DINO and CLIP stand in DreamBench, so that
scoring works without a download; their numbers compare with nothing published. Stopped trainings go on from `folder`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ar_core.dreambench.encoders import MINIATURE_SCORERS
from ar_core.files import write_text

from ..world.words import tokenizer_text
from .lesson_training import Course, learn_lessons
from .loop import Log, timed_log
from .place import HERE, Place
from .scorers import IdentityScorer, PairScorer, kept_tokenizer

STEPS = {"identity": 2600, "pairs": 4800}
LEARNING_RATE = 1e-3
WARM_UP = 200  # steps
Scorer = IdentityScorer | PairScorer


def train_scorer(name: str, folder: Path, course: Course, log: Log = print) -> Scorer:
    """Train one scorer, "identity" or "pairs", from nothing or from its checkpoint in `folder`."""
    scorer = new_scorer(name, folder, course.seed)
    learn_lessons(scorer, scorer.loss, scorer.lesson, folder / f"{name}_scorer.safetensors", course, log)
    return scorer


def scorer_course(steps: int, place: Place = HERE, workers: int = 0) -> Course:
    """How the scorers learn."""
    return Course(
        steps,
        LEARNING_RATE,
        WARM_UP,
        weight_decay=0.05,
        betas=(0.9, 0.98),
        clip_norm=1.0,
        place=place,
        workers=workers,
    )


def new_scorer(name: str, folder: Path, seed: int) -> Scorer:
    """An untrained one, always the same."""
    if name == "identity":
        torch.manual_seed(seed)
        return IdentityScorer()
    tokenizer = kept_tokenizer(folder)
    torch.manual_seed(seed)
    return PairScorer(tokenizer)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.making.scorer_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="checkpoints")
    parser.add_argument("--only", choices=tuple(STEPS), help="train only one of them, and export nothing")
    parser.add_argument("--steps", type=int, help=f"default: {STEPS}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make the lessons beside it")
    parser.add_argument("--out", type=Path, default=MINIATURE_SCORERS)
    arguments = parser.parse_args()
    log = timed_log()
    names = list(STEPS)
    if arguments.only:
        names = [arguments.only]
    place = Place(torch.device(arguments.device))
    scorers = {}
    for name in names:
        course = scorer_course(arguments.steps or STEPS[name], place, arguments.workers)
        scorers[name] = train_scorer(name, arguments.folder, course, log)
    if not arguments.only:
        export_scorers(scorers, arguments.out)
        log(f"wrote {arguments.out}")


def export_scorers(scorers: dict[str, Scorer], out: Path) -> None:
    """Both as folders that transformers reads; weights as float16."""
    for name, scorer in scorers.items():
        if isinstance(scorer, IdentityScorer):
            scorer.vit.half().save_pretrained(out / name)
        else:
            scorer.clip.half().save_pretrained(out / name)
            scorer.tokenizer.save_pretrained(out / name)
            write_text(out / name / "tokenizer.json", tokenizer_text(scorer.tokenizer.backend_tokenizer))


if __name__ == "__main__":
    main()
