"""The stages of a training, and the strategies made of them."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import Adapter, attach_adapter
from ..batches import draw_in_batches
from ..control import Cancel, Progress, never, silent
from ..files import UnreadableFile, json_hash
from ..memory import check_budget, training_room
from ..model import ARModel
from ..personalization import Personalization, PersonalizationError
from ..sampling import SamplingSettings
from ..styles import example_prompt
from ..text import Identifier, check_identifier_name
from .class_pictures import class_pictures, class_run, sampling_at
from .deep import deep_start
from .examples import Examples, PriorExamples, photo_identifiers
from .frozen_distribution import frozen_distribution
from .identity import run_fields
from .loop import Batches, Loop, Penalty
from .passes import Passes, fitting_passes
from .regularizers import context_distance, with_image_concept
from .runs import Grid, Run, grid_of
from .settings import DEEP, EMBEDDING, FROZEN, JOINT, LAYERS, STAGES, TrainingSettings
from .subject import Subject
from .trainable import DeepStart, Trainable, initial_vectors, new_adapter

KEEP_EVERY = {EMBEDDING: 50, DEEP: 50, LAYERS: 20, JOINT: 20}  # steps between two kept results
SAMPLE_SEED = 0

OnSample = Callable[[int, Tensor], None]  # step, images (prompts, H, W, 3) in 0..1

Choose = Callable[["Stage", "StageResult"], "StageResult"]  # a stage and its last step -> the step to hand on

log = logging.getLogger(__name__)

SELECTED = "selected"  # of a personalization's recipe: how its step was chosen
STAGE_ONE_SELECTED = "stage_one_selected"  # the same of the stage before
CHANGES_LAYERS = (LAYERS, JOINT)
STAGE_ONE = (  # settings of what comes before the layers
    "embedding_learning_rate",
    "vectors",
    "initialisation",
    "per_image_token",
    "depth",
    "deep_learning_rate",
    "image_concept",
    "context_weight",
    "dual_prior_weight",
    "dual_prior_images",
)


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage learned by `step`; `note` says whether that was trained now, gone on with, or remembered.

    `samples` holds the codes (prompts, rows, columns) of one seed at kept steps, where they were asked for.
    """

    personalization: Personalization
    losses: list[float]
    step: int
    note: str
    run: Path
    samples: dict[int, Tensor]


def personalize(
    model: ARModel,
    subject: Subject,
    settings: TrainingSettings,
    runs: Path,
    *,
    identifier: str = "[V]",
    progress: Progress = silent,
    cancel: Cancel = never,
    samples: int | None = 0,
    on_sample: OnSample | None = None,
    on_stage: Callable[[Stage], None] | None = None,
    every: int | None = None,
    prompts: Sequence[str] = (),
    choose: Choose | None = None,
) -> list[StageResult]:
    """Train the strategy's stages one after the other; the last result is the personalization.

    `on_stage` gets each before it trains. `choose`: which step of the last stage is handed on (best_step.py), None for
    the last. Other arguments and errors are those of `Stage` and its `train`.
    """
    results: list[StageResult] = []
    start = None
    for name in STAGES[settings.strategy]:
        stage = Stage(
            model,
            subject,
            settings,
            runs,
            name,
            start,
            identifier=identifier,
            progress=progress,
            cancel=cancel,
            samples=samples,
            on_sample=on_sample,
            every=every,
            prompts=prompts,
        )
        if on_stage is not None:
            on_stage(stage)
        result = stage.train(settings.steps(name))
        results.append(result)
        start = result.personalization
    if choose is not None:
        results[-1] = choose(stage, results[-1])
    return results


class Stage:
    """One stage of learning one subject, remembered below `runs`; the nodes and `personalize` share it.

    `losses` grows while it trains.
    """

    def __init__(
        self,
        model: ARModel,
        subject: Subject,
        settings: TrainingSettings,
        runs: Path,
        name: str,
        start: Personalization | None = None,
        *,
        identifier: str = "[V]",
        progress: Progress = silent,
        cancel: Cancel = never,
        samples: int | None = 0,
        on_sample: OnSample | None = None,
        passes: Passes | None = None,
        every: int | None = None,
        prompts: Sequence[str] = (),
    ):
        """`name`: "embedding", "deep", "layers" or "joint"; `start`: whose vectors the stage takes over.

        `every`: steps between two kept results, by default KEEP_EVERY; where it is given, those that a training before
        did not keep are made up for. `samples`: at so many kept steps, the last among them, or at all of them where it
        is None, a picture of each of `prompts` (by default one of ours) is drawn, remembered and handed to `on_sample`.
        `passes`: how pairs go through the model, where the settings leave that open; None takes what fits when training
        begins. Raises PersonalizationError for a model or a start that cannot be trained on, and TextError for an
        identifier that is none.
        """
        _check_model(model, settings)
        if name != LAYERS:
            check_photo_tokens(model, settings, subject.photos)
        if name == DEEP:
            check_depth(model, settings.depth)
        check_style(subject.class_name, settings)
        if start is not None:
            _check_start(model, start)
        self.model = model
        self.subject = subject
        self.settings = settings
        self.name = name
        self.start = start
        self.identifier = check_identifier_name(identifier)
        self.progress = progress
        self.cancel = cancel
        self.samples = samples
        self.on_sample = on_sample
        self.passes = passes
        self.every = every
        self.prompts = tuple(prompts) or (self._own_prompt(),)
        self.runs = Path(runs)
        self.run = self._named_run()
        self.losses: list[float] = []

    @torch.inference_mode(False)
    @torch.enable_grad()
    def train(self, steps: int) -> StageResult:
        """Learn until `steps` steps are done in all; steps that are remembered are not trained again.

        Raises NotEnough before the first step, Cancelled, and TrainingDiverged.
        """
        with self.run.locked(self.progress, self.cancel):
            self._keep_what_was_passed_over(steps)
            return self._remembered(steps) or self._trained(steps)

    def _keep_what_was_passed_over(self, steps: int) -> None:
        """Keep the results at `every` steps also where a training before kept others; skipped steps have none."""
        if self.every is None:
            return
        losses = self.run.losses()
        kept = self.run.kept()
        passed = [step for step in kept_steps(self.name, steps, self.every)[:-1] if step < len(losses)]
        missing = [step for step in passed if step not in kept and not math.isnan(losses[step - 1])]
        if missing:
            self._trained(missing[-1])

    def _named_run(self) -> Run:
        """Where this stage is remembered: under its own name, or the one that it had before."""
        named = (self.model, self.subject, self.settings, self.name, self.start)
        label = f"{self.subject.word}-{self.name}"
        earlier = Run(self.runs, label, run_fields(*named, earlier=True))
        if earlier.exists():
            return earlier
        return Run(self.runs, label, run_fields(*named))

    def _remembered(self, steps: int) -> StageResult | None:
        """The result that was kept at exactly `steps`; None where it must be trained."""
        trainable = self._kept(steps)
        if trainable is None:
            return None
        self.run.note_use()
        note = "remembered"
        log.info("%s: %s, in %s", self.name, note, self.run.folder)
        self.losses = self.run.losses()[:steps]
        return self._result(trainable, self.losses, steps, note, self._kept_samples(steps))

    def _trained(self, steps: int) -> StageResult:
        if self.name in CHANGES_LAYERS:
            self._check_budget(steps)
        self.run.open()
        trainable = self._new_trainable()
        loop = Loop(
            self.model.transformer,
            trainable,
            self._learning_rates(trainable),
            self._batches(trainable),
            self.run,
            self.settings,
            self._passes(),
            steps=steps,
            first_id=self.model.protocol.identifier_base,
            keep_every=self.every or KEEP_EVERY[self.name],
            penalty=self._penalty(trainable),
        )
        self.losses = loop.losses
        note = "trained"
        if not loop.resumed and loop.goes_back:
            log.info("%s: no state of at most %d steps in %s, training begins", self.name, steps, self.run.folder)
        elif not loop.resumed:
            log.info("%s: nothing is remembered in %s, training begins", self.name, self.run.folder)
        else:
            note = f"went on from step {loop.step}"
            log.info("%s: %s of %s", self.name, note, self.run.folder)
        planned = sampled_steps(self.name, steps, self.samples, self.every)
        samples = self._kept_samples(steps)

        def on_keep(step: int) -> None:
            if step in planned:
                codes = self._sample(step, trainable)
                if codes is not None:
                    samples[step] = codes

        def progress(done: int, total: int, message: str) -> None:
            self.progress(done, total, f"{self.name}: {message}")

        loop.train(progress, self.cancel, on_keep)
        return self._result(trainable, loop.losses, loop.step, note, samples)

    def _check_budget(self, steps: int) -> None:
        check_budget(
            self.model.transformer,
            self.settings.method,
            self.settings.rank,
            self.run.root,
            kept=len({*kept_steps(self.name, steps, self.every), *self.run.kept()}),
            goes_back=self.run.is_beyond(steps),
            held=self.run.held_bytes(),
        )

    def _passes(self) -> Passes:
        if self.passes is not None:
            return self.passes
        free = training_room(self.model.device)
        earlier = self.run.latest_passes()
        passes = fitting_passes(self.model, self.settings, self.name, free, self.subject.size, earlier)
        log.debug("%s: %s", self.name, passes)
        return passes

    # ------------------------------------------------------------ what is learned

    def _new_trainable(self) -> Trainable:
        """What the stage learns, as it is before the first step."""
        transformer = self.model.transformer
        settings = self.settings
        photo_vectors = None
        if settings.per_image_token and self.name != LAYERS:
            photo_vectors = initial_vectors(
                transformer, self.model.protocol, "photo", self.subject.photos, "random", settings.seed + 1
            ).to(self.model.device)
        if self.name == DEEP:
            return self._new_deep(photo_vectors)
        image_vectors = None
        if self.start is not None and self.start.image_vectors is not None:
            image_vectors = self.start.image_vectors.clone().to(self.model.device)
        adapter = None
        if self.name in CHANGES_LAYERS:
            adapter = new_adapter(transformer, settings.method, settings.rank, settings.seed)
        return Trainable(self._first_vectors().to(self.model.device), photo_vectors, adapter, image_vectors)

    def _first_vectors(self) -> Tensor:
        """The identifier's, as the stage takes them over or begins with them."""
        if self.start is not None:
            return self.start.vectors.clone()
        settings = self.settings
        return initial_vectors(
            self.model.transformer,
            self.model.protocol,
            self.subject.word,
            settings.vectors,
            settings.initialisation,
            settings.seed,
        )

    def _new_deep(self, photo_vectors: Tensor | None) -> Trainable:
        """A deep concept that changes nothing yet beyond the embedding that it starts with."""
        settings = self.settings
        # Copies: what is loaded into a trainable is written over them.
        start = DeepStart(self._deep_start.origin.clone(), self._deep_start.units.clone())
        nothing = torch.zeros_like(start.origin)
        own = nothing[:, : settings.vectors].clone()
        image = None
        if settings.image_concept:
            image = nothing[:, settings.vectors :].clone()
        return Trainable(own, photo_vectors, None, image, start)

    @functools.cached_property
    def _deep_start(self) -> DeepStart:
        """Where the deep concept starts: with an image concept a pass over all photos, made once."""
        return deep_start(
            self.model.transformer,
            self.model.protocol,
            self.subject,
            self._first_vectors(),
            self.settings.depth,
            self.settings.image_concept,
        )

    def _kept(self, step: int) -> Trainable | None:
        """What was learned by a kept step; None where it cannot be read."""
        trainable = self._new_trainable()
        learned = self.run.result(step, trainable.state_dict())
        if learned is None:
            return None
        trainable.load_state_dict(learned)
        return trainable

    def _learning_rates(self, trainable: Trainable) -> dict[str, float]:
        """By the names in `trainable`; what has none stays as it is."""
        rates = {}
        if self.name != LAYERS:
            rates["vectors"] = self.settings.embedding_learning_rate
        if self.name == DEEP:
            rates["vectors"] = self.settings.deep_learning_rate
            if trainable.image_vectors is not None:
                rates["image_vectors"] = self.settings.deep_learning_rate
        if trainable.photo_vectors is not None:
            rates["photo_vectors"] = self.settings.embedding_learning_rate
        if trainable.adapter is not None:
            rates["adapter"] = self.settings.layer_learning_rate
        return rates

    # ------------------------------------------------------------ what it is learned from

    def _batches(self, trainable: Trainable) -> Batches:
        """Step -> the subject's batch and, with prior preservation, the class's."""
        examples = self._examples(trainable)
        if not self.settings.trains_on_class(self.name):
            return lambda step: [(examples(step), 1.0)]
        if self.name == DEEP:
            pictures = self._dual_prior_examples(trainable)
            return lambda step: [(examples(step), 1.0), (pictures(step), self.settings.dual_prior_weight)]
        prior = self._prior_examples()
        return lambda step: [(examples(step), 1.0), (prior(step), self.settings.prior_weight)]

    def _examples(self, trainable: Trainable) -> Examples:
        subject = self.subject
        protocol = self.model.protocol
        first = protocol.identifier_base
        images = 0
        if trainable.image_vectors is not None:
            images = trainable.image_vectors.shape[1]
        own = trainable.concept.shape[1] - images
        count = own + images
        identifier = Identifier(self.identifier, subject.class_name, first, own, images=images)
        photo_tokens: tuple[Identifier, ...] = ()
        if trainable.photo_vectors is not None:
            photo_tokens = photo_identifiers(subject.photos, first + count)
        return Examples(
            subject,
            protocol,
            identifier,
            self.settings.batch_size,
            self.settings.seed,
            photo_tokens,
            self.settings.templates or subject.templates,
            self.settings.background_weight,
        )

    def _prior_examples(self) -> PriorExamples:
        protocol = self.model.protocol
        size = self.subject.size
        codes = self.run.remembered("prior", self.grid)  # where versions before had them, for each training anew
        if codes is None:
            codes = self._class_pictures(self.settings.prior_images)
        prompt = protocol.prompt(self.subject.plain_prompt, size)
        return PriorExamples(codes, prompt, protocol, size, self.settings.batch_size, self.settings.seed)

    def _dual_prior_examples(self, trainable: Trainable) -> PriorExamples:
        """Pictures of the class behind the image concept, with what the frozen model expects without it."""
        model = self.model
        protocol = model.protocol
        size = self.subject.size
        settings = self.settings
        codes = self._class_pictures(settings.dual_prior_images)
        prompt = protocol.prompt(self.subject.plain_prompt, size)
        run = class_run(model, self.subject.plain_prompt, size, settings.seed, self.runs)
        frozen = frozen_distribution(model.transformer, protocol, prompt, codes, size, run, self.progress, self.cancel)
        if trainable.image_vectors is not None:
            images = trainable.image_vectors.shape[1]
            prompt = with_image_concept(prompt, protocol, images, trainable.concept.shape[1] - images)
        return PriorExamples(codes, prompt, protocol, size, settings.batch_size, settings.seed, frozen)

    def _class_pictures(self, count: int) -> Tensor:
        return class_pictures(
            self.model,
            self.subject.plain_prompt,
            self.subject.size,
            count,
            self.settings.seed,
            self.runs,
            progress=self.progress,
            cancel=self.cancel,
        )

    def _penalty(self, trainable: Trainable) -> Penalty | None:
        """Context self-regularization, where it is asked for."""
        learned = trainable.image_vectors
        weight = self.settings.context_weight
        if self.name != DEEP or learned is None or not weight:
            return None
        return lambda: weight * context_distance(learned)

    @property
    def grid(self) -> Grid:
        """What codes of pictures of this size must be."""
        return grid_of(self.model, self.subject.size)

    def _sampling(self, seed: int) -> SamplingSettings:
        return sampling_at(self.model, self.subject.size, seed)

    # ------------------------------------------------------------ what is shown and handed on

    def _kept_samples(self, steps: int) -> dict[int, Tensor]:
        """The samples of steps that were kept before, up to `steps`."""
        kept = self.run.kept()
        planned = sampled_steps(self.name, steps, self.samples, self.every)
        samples = {step: self._sample(step) for step in planned if step in kept}
        return {step: codes for step, codes in samples.items() if codes is not None}

    def _sample(self, step: int, trainable: Trainable | None = None) -> Tensor | None:
        """Codes of the samples at a kept step, drawn once and then remembered; `trainable`: as it is at that step.

        Each prompt is drawn alone, so that its picture is the same whatever else is asked for. None where what was kept
        cannot be read.
        """
        drawn = []
        for prompt in self.prompts:
            name = self._sample_name(step, prompt)
            codes = self.run.remembered(name, self.grid)
            if codes is None:
                trainable = trainable or self._kept(step)
                if trainable is None:
                    return None
                codes = self._draw_sample(step, trainable, prompt)
                self.run.remember(name, codes)
            drawn.append(codes)
        found = torch.cat(drawn)
        if self.on_sample is not None:
            self.on_sample(step, self.model.decode(found))
        return found

    def _own_prompt(self) -> str:
        return example_prompt(self.identifier, self.subject.class_name)

    def _sample_name(self, step: int, prompt: str) -> str:
        if prompt == self._own_prompt():
            return f"sample-{step:06d}"
        return f"sample-{step:06d}-{json_hash(prompt)[:16]}"

    def _draw_sample(self, step: int, trainable: Trainable, prompt: str) -> Tensor:
        model = self.model.with_identifier(self._personalization(trainable, step, None))
        settings = self._sampling(SAMPLE_SEED)
        with attach_adapter(model.transformer, trainable.adapter):
            image = model.generate(prompt, settings, cancel=self.cancel)[0]
        return image.codes.clone()

    @torch.inference_mode(False)
    def draw(self, step: int, prompts: Sequence[str], seed: int, cancel: Cancel) -> Tensor:
        """Codes (prompts, rows, columns) by what was learned by a kept step; 0 is the base model, without the subject.

        As many at a time as fit. A step whose result is damaged is learned again, so only while the run is locked.
        Raises Cancelled.
        """
        model = self.model
        adapter = None
        if step:
            trainable = self._kept_or_again(step)
            adapter = trainable.adapter
            model = model.with_identifier(self._personalization(trainable, step, None))
        with attach_adapter(model.transformer, adapter):
            batches = list(draw_in_batches(model, prompts, self._sampling(seed), cancel=cancel))
        return torch.cat([image.codes for batch in batches for image in batch]).clone()

    @torch.inference_mode(False)
    def kept_personalization(self, step: int) -> Personalization:
        """What was learned by a kept step, again where its result is damaged. Only while the run is locked."""
        return self._result(self._kept_or_again(step), [], step, "", {}).personalization

    @torch.enable_grad()
    def _kept_or_again(self, step: int) -> Trainable:
        """What was learned by a step that was kept; where that cannot be read, it is learned again first."""
        trainable = self._kept(step)
        if trainable is None:  # it was damaged, and set aside
            self._trained(step)
            trainable = self._kept(step)
        if trainable is None:
            raise UnreadableFile(f"The result of step {step} in {self.run.folder} cannot be kept. Look at that disk.")
        return trainable

    def _result(
        self, trainable: Trainable, losses: list[float], step: int, note: str, samples: dict[int, Tensor]
    ) -> StageResult:
        """What the stage hands on. `trainable` is learned: its adapter leaves the device, and gradients are dropped."""
        adapter = trainable.adapter
        if adapter is not None:
            adapter.requires_grad_(False).zero_grad(set_to_none=True)
            adapter.cpu()  # whoever uses it takes a copy to where it is needed; a host keeps results for hours
        learned = self._personalization(trainable, step, adapter)
        return StageResult(learned, losses, step, note, self.run.folder, samples)

    def _personalization(self, trainable: Trainable, step: int, adapter: Adapter | None) -> Personalization:
        recipe = {
            **self._described(),
            "stage": self.name,
            "steps": step,
            "photos": self.subject.photos,
            "size": list(self.subject.size),
            **self._of_sidecars(),
        }
        return Personalization(
            self.identifier,
            self.subject.class_name,
            self._learned_vectors(trainable),
            adapter,
            self.model.fingerprint,
            recipe,
            architecture_name=self.model.family.architecture_name,
            licence_notice=self.model.family.licence_notice,
            image_vectors=self._image_vectors(trainable),
            origin=self._origin(trainable),
        )

    def _of_sidecars(self) -> dict[str, object]:
        """What lay beside the photos and changed the training; nothing where it was the photos alone."""
        fields: dict[str, object] = {}
        if self.subject.masks is not None:
            fields["background_weight"] = self.settings.background_weight
        if self.subject.captions:
            fields["captioned_photos"] = sum(bool(caption) for caption in self.subject.captions)
        return fields

    def _learned_vectors(self, trainable: Trainable) -> Tensor:
        """The identifier's own, (k, hidden) or (depth, k, hidden)."""
        if trainable.vectors.ndim == 2:
            return trainable.vectors.detach().clone().cpu()
        own = trainable.vectors.shape[1]
        return trainable.concept[:, :own].detach().clone().cpu()

    def _image_vectors(self, trainable: Trainable) -> Tensor | None:
        """Those of a deep concept's position before the picture (depth, images, hidden)."""
        if trainable.image_vectors is None:
            return None
        own = trainable.vectors.shape[1]
        return trainable.concept[:, own:].detach().clone().cpu()

    def _origin(self, trainable: Trainable) -> Tensor | None:
        """Where a deep concept started, in this stage or the one before (depth, k + images, hidden)."""
        if trainable.origin is not None:
            return trainable.origin.detach().clone().cpu()
        if self.start is not None:
            return self.start.origin
        return None

    def _described(self) -> dict[str, object]:
        """The settings; of stage 1, where another took it over, what that says, whatever these settings say of it."""
        described: dict[str, object] = self.settings.describe()
        if self.start is None:
            return described
        before = self.start.recipe
        described = {name: value for name, value in described.items() if name not in STAGE_ONE}
        described |= {name: before[name] for name in STAGE_ONE if name in before}
        if "steps" in before:
            described["deep_steps" if before.get("stage") == DEEP else "embedding_steps"] = before["steps"]
        if SELECTED in before:
            described[STAGE_ONE_SELECTED] = before[SELECTED]
        return described


def sampled_steps(stage: str, steps: int, count: int | None, every: int | None = None) -> list[int]:
    """`count` of the steps that a training of `steps` steps keeps, evenly spread, the last among them; None: all."""
    kept = kept_steps(stage, steps, every)
    if count is None:
        return kept
    chosen = set()
    for i in range(count):
        from_the_end = round(i * len(kept) / count)
        if from_the_end < len(kept):
            chosen.add(kept[-1 - from_the_end])
    return sorted(chosen)


def kept_steps(stage: str, steps: int, every: int | None = None) -> list[int]:
    """The steps whose result a training of `steps` steps keeps: each `every` steps, by default KEEP_EVERY."""
    every = every or KEEP_EVERY[stage]
    return sorted({*range(every, steps, every), steps})


def _check_model(model: ARModel, settings: TrainingSettings) -> None:
    if model.applied:
        names = ", ".join(i.name for i in model.identifiers)
        raise PersonalizationError(f"The model is already personalized ({names}). Train on the model as it was loaded.")
    quantized = model.transformer.quantized
    if quantized and settings.method == "full" and settings.strategy not in FROZEN:
        raise PersonalizationError(
            f"Full q/k/v training needs the weights in 16 or 32 bits, and this model holds them in {quantized}. "
            "Load it in another precision, or choose the method LoRA."
        )


def check_depth(model: ARModel, depth: int) -> None:
    """Raise PersonalizationError for a deep concept of more layers than the model has."""
    layers = model.base.config.num_hidden_layers
    if depth > layers:
        raise PersonalizationError(f"depth is {depth}, and this model has {layers} layers. Give that or fewer.")


def check_style(class_name: str, settings: TrainingSettings) -> None:
    """Raise PersonalizationError for a style (no class name) that is to be learned as anything but a deep concept.

    Its class pictures, which dual prior preservation draws, are photos in no style (`Subject.plain_prompt`). Prior
    preservation is of stages that a style does not have, and does nothing here, as with every deep concept alone.
    """
    if class_name:
        return
    if settings.strategy != "deep":
        raise PersonalizationError(
            f"The class name is empty: a style is learned, which the strategy {settings.strategy} cannot. Choose the "
            'strategy deep, or give the word for what the photos show, for example "dog".'
        )


def check_photo_tokens(model: ARModel, settings: TrainingSettings, photos: int) -> None:
    """Raise PersonalizationError where a token for each photo takes more reserved tokens than the model has."""
    room = model.protocol.identifiers - settings.vectors - int(settings.is_deep and settings.image_concept)
    if settings.per_image_token and photos > room:
        raise PersonalizationError(
            f"With a token for each photo this model has room for {room} photos, and there are {photos}. Take fewer "
            "photos, or train without a token for each (--no-per-image-token)."
        )


def _check_start(model: ARModel, start: Personalization) -> None:
    name = f'"{start.full_name}"'
    if start.base_fingerprint != model.fingerprint:
        raise PersonalizationError(
            f"{name} was learned on another base model (fingerprint {start.base_fingerprint}, this one has "
            f"{model.fingerprint}). Learn the identifier on this model first."
        )
    if start.adapter is not None:
        raise PersonalizationError(
            f"{name} already changes the layers. Start from an embedding or a deep concept alone, or from nothing."
        )
