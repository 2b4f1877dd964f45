"""What every part of an evaluation needs: whom it measures, who judges, how much, and where things are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ar_core.dreambench.encoders import Encoders
from ar_core.files import weights_hash
from ar_core.model import ARModel

from ..making.loop import Log
from .effort import Effort
from .judge_training import Judges
from .kept_numbers import question_digest
from .sampled_pictures import SampledPictures


@dataclass(frozen=True)
class Setup:
    """One model before its judges. `sheets`: where contact sheets go; `runs`: where trainings are remembered.

    `folder` belongs to this model and recipe: what another one gave is never taken for the present one's.
    """

    model: ARModel
    judges: Judges
    scorers: Encoders
    effort: Effort
    folder: Path
    sheets: Path
    runs: Path
    log: Log = print

    @property
    def samples(self) -> SampledPictures:
        """The model's samples so far."""
        return SampledPictures(self.model, self.folder / "samples", self.log)

    @property
    def cfg(self) -> float:
        """The recipe's own guidance."""
        return self.model.family.recipe.cfg


def set_up(
    model: ARModel, judges: Judges, scorers: Encoders, effort: Effort, folder: Path, sheets: Path, log: Log = print
) -> Setup:
    """A setup below `folder`, which several models may share."""
    return Setup(model, judges, scorers, effort, folder / model_folder(model, effort), sheets, folder / RUNS, log)


RUNS = "evaluation_runs"


def model_folder(model: ARModel, effort: Effort) -> str:
    """A name for these weights with this recipe."""
    weights = weights_hash([model.transformer, model.image_tokenizer])[:12]
    return f"evaluation-{weights}-{question_digest(asdict(model.family.recipe), effort.training)}"
