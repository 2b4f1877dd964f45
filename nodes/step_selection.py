"""Which step a training node hands on, and the prompts of the pictures that it draws on the way."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core.dreambench.encoders import MINIATURE_ENCODERS, PAPER_ENCODERS, Encoders
from ..ar_core.dreambench.step_judge import StepJudge
from ..ar_core.families.miniature import MINIATURE
from ..ar_core.training.best_step import BEST, LAST, Choice, StepTable
from ..ar_core.training.sample_prompts import subject_prompts
from .encoders import load_chosen_encoders
from .host.progress import Reporter
from .host.schema import advanced
from .sockets import HostedModel, SubjectPhotosValue, check_choice

IDENTIFIER = "[V]"  # of a subject that is learned by nodes
USES = {"last step": LAST, "best step": BEST}
LAST_STEP = "last step"

USE = advanced(
    io.Combo.Input,
    "use",
    options=list(USES),
    default=LAST_STEP,
    optional=True,
    tooltip="Which step is handed on. best step: at every kept step a few pictures are drawn and compared with the "
    "photos and with their prompts; the step that does well in both is taken. It needs the encoders of DreamBench "
    "Score (the miniature has its own) and a picture of each sample prompt at every kept step. For a step of your own "
    "choice, ask for so many steps.",
)
SAMPLE_PROMPTS = advanced(
    io.String.Input,
    "sample_prompts",
    default="",
    multiline=True,
    optional=True,
    tooltip='What is drawn while it learns, one prompt a line, with {} or "[V] dog" where the subject goes. Empty: the '
    "subject on a beach; to choose the best step, five other prompts.",
)


def chosen_prompts(sample_prompts: str, subject: SubjectPhotosValue, use: str) -> tuple[str, ...]:
    """The user's prompts, none where ours are meant.

    Raises TextError for one that does not name the subject where the best step is chosen by it.
    """
    check_choice("use", use, USES)
    choosing = USES[use] == BEST
    return subject_prompts(sample_prompts.splitlines(), IDENTIFIER, subject.class_name, choosing=choosing)


def step_choice(
    ar: HostedModel, subject: SubjectPhotosValue, use: str, prompts: tuple[str, ...], view: Reporter
) -> Choice:
    """What chooses the step to hand on. Raises ValueError where it needs encoders that are not there."""
    check_choice("use", use, USES)
    select = USES[use]
    judge = None
    if select == BEST:
        judge = StepJudge(judging_encoders(ar), subject.photos)
    return Choice(select, judge, prompts, view.progress, view.cancel)


def judging_encoders(ar: HostedModel) -> Encoders:
    """The miniature's own for the miniature, DINO and CLIP for others. Raises ValueError where these are missing."""
    if ar.model.family.name == MINIATURE.name:
        return load_chosen_encoders(MINIATURE_ENCODERS.title)
    try:
        return load_chosen_encoders(PAPER_ENCODERS.title)
    except ValueError as error:
        raise ValueError(f'use is "best step", which needs DINO and CLIP. {error}') from error


def table_lines(table: StepTable | None, taken: int) -> list[str]:
    """What the node says of the choice, one line a step; nothing where none was made."""
    if table is None:
        return []
    lines = [f"step {taken} is handed on, the best by {' and '.join(table.measures)} together"]
    for step in sorted(table.steps):
        shares = f"likeness {table.likeness(step):.2f}, prompt {table.prompt(step):.2f}"
        lines.append(f"step {step}: {shares}, together {table.together(step):.2f}")
    return lines


def sample_label(step: int, table: StepTable | None) -> str:
    """What stands below the samples of a step, on one line: "step 40", or "step 40: together 0.55"."""
    if table is None or step not in table.steps:
        return f"step {step}"
    return f"step {step}: together {table.together(step):.2f}"
