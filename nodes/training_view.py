"""What both training nodes share: their common widgets, the view while training runs, and what they hand on."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import replace

import torch
from comfy_api.latest import io
from PIL import Image

from ..ar_core import Personalization, StageResult, TrainingSettings, prepare_subject
from ..ar_core.families.protocol import Size
from ..ar_core.families.recipes import for_artists, of_paper
from ..ar_core.memory import sample_bytes
from ..ar_core.photos import stack, unstack
from ..ar_core.sheets import loss_curves, picture_grid
from ..ar_core.training.aspect import size_of_photos
from ..ar_core.training.best_step import LAST, StepTable
from ..ar_core.training.passes import Passes, fitting_passes
from ..ar_core.training.settings import DEEP, EMBEDDING, LAYERS, REGULARIZERS
from ..ar_core.training.stages import Stage, check_depth, check_photo_tokens
from ..ar_core.training.trainable import adapter_parameters
from .host.folders import runs_folder
from .host.memory import affords_on_card, make_resident, room_on_card
from .host.progress import PREVIEW, Reporter, advising_out_of_memory, show_text
from .host.schema import advanced
from .sockets import HostedModel, PersonalizationSocket, SubjectPhotosValue, check_choice
from .step_selection import LAST_STEP, chosen_prompts, sample_label, step_choice, table_lines

SAMPLES = 4  # pictures of the fixed prompt, spread over the training
CELL = 256  # pixels
SECONDS = 2.0  # between two previews
SUMMARY = {  # by stage, the settings that a node shows; of the other stages, those of the layers
    EMBEDDING: ("embedding_learning_rate", "seed"),
    DEEP: ("depth", "image_concept", "deep_learning_rate", "seed"),
}

log = logging.getLogger(__name__)

STEPS = io.Int.Input(
    "steps",
    default=0,
    min=0,
    max=20000,
    tooltip="0: the value of the recipe; the node shows its number. If you ask for more steps later, only the missing "
    "ones are trained; for fewer, the result is that of exactly so many, and what was learned beyond them stays.",
)
LEARNING_RATE = advanced(
    io.Float.Input,
    "learning_rate",
    default=0.0,
    min=0.0,
    max=1.0,
    step=1e-6,
    round=False,
    tooltip="0: the value of the recipe; the node shows its number. Higher rates learn faster and forget more. Values "
    "from a tenth to ten times the recipe are worth trying.",
)
TRAINING_SEED = advanced(
    io.Int.Input,
    "training_seed",
    default=0,
    min=0,
    max=2**31 - 1,
    tooltip="Another seed is another training; both are remembered.",
)
RECIPES = {"artist (ours)": for_artists, "paper": of_paper}  # how a model's family gets its recipe
PAPER = "paper"
RECIPE = io.Combo.Input(
    "recipe",
    options=list(RECIPES),
    default="artist (ours)",
    optional=True,
    tooltip="Where values that are 0 come from. artist (ours): a thirtieth of the paper's training pairs in stage 1 "
    "and half of them in stage 2. Lumina-mGPT learns from 512 px with it, about 20 minutes for each stage on a 12 GB "
    "RTX 3060; Janus-Pro from 384 px, in minutes. paper: the values of arXiv 2504.13162 where they are known; stage 1 "
    "of Lumina-mGPT takes about 21 hours there, at 768 px. All times by arithmetic. The miniature has one recipe in "
    "nodes, its own.",
)


def training_outputs() -> list[io.Output]:
    """What both training nodes give."""
    return [
        PersonalizationSocket.Output("personalization", display_name="PERSONALIZATION"),
        io.LossMap.Output("losses", display_name="LOSS_MAP", tooltip="For the core node Plot Loss Graph."),
        io.Image.Output(
            "samples",
            display_name="samples",
            tooltip="The same prompt and seed at several steps: see which number of steps looks best.",
        ),
    ]


def with_chosen_recipe(ar: HostedModel, recipe: str) -> HostedModel:
    """`ar` with the recipe that was chosen. Raises ValueError where there is none of that name."""
    check_choice("recipe", recipe, RECIPES)
    return replace(ar, model=replace(ar.model, family=RECIPES[recipe](ar.model.family)))


def train_stage(
    ar: HostedModel,
    subject: SubjectPhotosValue,
    stage: str,
    settings: TrainingSettings,
    start: Personalization | None = None,
    *,
    use: str = LAST_STEP,
    sample_prompts: str = "",
) -> io.NodeOutput:
    """Run one stage with everything a user sees of it. `start`: the result of the stage before.

    `use` and `sample_prompts`: see step_selection.py.
    """
    size = check_asked(ar, subject, stage, settings)
    view = TrainingView()
    prompts = chosen_prompts(sample_prompts, subject, use)
    choice = step_choice(ar, subject, use, prompts, view)
    passes = fitting_passes(ar.model, settings, stage, room_on_card(ar))
    samples = make_room_for_training(ar, stage, settings, passes)
    if choice.select != LAST and not samples:
        raise ValueError(
            f'use is "{use}", and there is no room on the card to draw pictures while training. Take "{LAST_STEP}", or '
            "load the model in int8 or 4-bit."
        )
    advice = advising_out_of_memory("training", "Train with the method LoRA or a lower rank")
    with view.interruptible(), advice:
        prepared = prepare_subject(
            ar.model,
            subject.photos,
            subject.class_name,
            size,
            runs=runs_folder(),
            progress=view.progress,
            cancel=view.cancel,
        )
        view.stage = Stage(
            ar.model,
            prepared,
            settings,
            runs_folder(),
            stage,
            start,
            progress=view.progress,
            cancel=view.cancel,
            samples=samples,
            on_sample=view.on_sample,
            passes=passes,
            prompts=prompts,
        )
        trained = view.stage.train(settings.steps(stage))
        result = choice(view.stage, trained)
    show_text("\n".join([training_summary(trained, settings, stage), *table_lines(choice.table, result.step)]))
    pictures = labelled_samples(ar, result, choice.table)
    view.show(unstack(pictures)[-1])  # also where nothing was trained, because it is remembered
    losses = {"loss": drawable_losses(trained.losses)}
    return io.NodeOutput(result.personalization, losses, pictures)


def check_asked(ar: HostedModel, subject: SubjectPhotosValue, stage: str, settings: TrainingSettings) -> Size | None:
    """The size of the pictures to learn from, None for the recipe's, before photos are read and anything is loaded.

    Raises PersonalizationError and ValueError for what cannot be meant.
    """
    if stage == DEEP:
        check_depth(ar.model, settings.depth)
    if stage != LAYERS:
        check_photo_tokens(ar.model, settings, len(subject.photos))
    if subject.keep_aspect:
        return size_of_photos(ar.model.family, subject.photos)
    return None


def make_room_for_training(ar: HostedModel, stage: str, settings: TrainingSettings, passes: Passes) -> int:
    """Have the model loaded with room for the training; how many samples there is room to draw on the way.

    Pictures of the class, where they are trained on, are drawn whether or not there is.
    """
    learning, drawing = memory_needed(ar, stage, settings, passes)
    samples = 0
    if affords_on_card(ar, learning, drawing):
        samples = SAMPLES
    else:
        log.info("No samples are drawn during training: there is no room for them on the card")
    if samples or settings.trains_on_class(stage):
        learning = max(learning, drawing)
    make_resident(ar, learning)
    return samples


def memory_needed(ar: HostedModel, stage: str, settings: TrainingSettings, passes: Passes) -> tuple[int, int]:
    """Bytes beside the weights for reading the photos and learning, and for drawing one sample on the way."""
    parameters = adapter_parameters(ar.model.transformer, settings, stage)
    return passes.bytes(ar.model, settings, stage), sample_bytes(ar.model, parameters)


class TrainingView(Reporter):
    """Progress whose preview alternates between the losses so far and the newest sample."""

    def __init__(self) -> None:
        super().__init__()
        self.stage: Stage | None = None
        self.sample: Image.Image | None = None
        self.turns = itertools.count()
        self.shown = 0.0  # when, on the monotonic clock

    def progress(self, done: int, total: int, message: str) -> None:
        losses = self._losses()
        if time.monotonic() - self.shown > SECONDS and len(losses) > 1:
            sample_is_due = next(self.turns) % 2 == 1
            if self.sample is not None and sample_is_due:
                self.preview = self.sample
            else:
                self.preview = loss_curves({"loss": losses}, (PREVIEW, 320))
            self.shown = time.monotonic()
        super().progress(done, total, message)

    def on_sample(self, step: int, images: torch.Tensor) -> None:
        """Show samples (prompts, H, W, 3) that were just drawn."""
        self.sample = sample_cell(images, f"step {step}")
        self.show(self.sample)
        self.shown = time.monotonic()

    def _losses(self) -> list[float]:
        if self.stage is None:
            return []
        return self.stage.losses


def sample_cell(images: torch.Tensor, label: str) -> Image.Image:
    """A sample with a line below it."""
    return picture_grid([unstack(images)], cell=CELL, labels=[label])


def labelled_samples(ar: HostedModel, result: StageResult, table: StepTable | None = None) -> torch.Tensor:
    """The samples as a batch (n, H, W, 3), each with its step below it, and what `table` says of that.

    Where there was no room for any, a grey picture says so.
    """
    cells = []
    for step, codes in sorted(result.samples.items()):
        cells.append(sample_cell(ar.model.decode(codes), sample_label(step, table)))
    if not cells:
        cells = [
            sample_cell(torch.full((1, CELL, CELL, 3), 0.5, dtype=torch.float32, device="cpu"), "no room for samples")
        ]
    return stack(cells)


def drawable_losses(losses: list[float]) -> list[float]:
    """Losses as the core node can draw them: finite, and at least two different ones."""
    finite = [loss for loss in losses if math.isfinite(loss)] or [0.0]
    if min(finite) == max(finite):
        finite.append(finite[-1] + 1e-6)
    return finite


def training_summary(result: StageResult, settings: TrainingSettings, stage: str) -> str:
    """Two lines: what was done, and the settings that mattered."""
    names = SUMMARY.get(stage, ("layer_learning_rate", "method", "rank", "seed"))
    if stage == DEEP:
        names += tuple(name for name in REGULARIZERS if getattr(settings, name))
    values = ", ".join(f"{name.replace('_', ' ')} {shown(getattr(settings, name))}" for name in names)
    return f"{stage}: {result.step} steps, {result.note}\n{values}"


def shown(value: object) -> object:
    """A setting's value as the widgets have it: a switch is on or off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value
