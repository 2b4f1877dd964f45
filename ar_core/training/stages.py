"""The stages and the strategies made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import attached
from ..control import Cancel, Progress, never, silent
from ..memory import check_budget
from ..model import ARModel
from ..personalization import Personalization, PersonalizationError
from ..sampling import SamplingSettings
from ..text import Identifier, check_identifier_name
from .examples import Examples, PriorExamples
from .loop import Loop
from .runs import Run, collected
from .settings import TrainingSettings
from .subject import Subject
from .trainable import Trainable, initial_vectors, new_adapter

EMBEDDING, LAYERS, JOINT = "embedding", "layers", "joint"
PRIOR_BATCH = 8  # class pictures drawn at once
KEEP_EVERY = {EMBEDDING: 50, LAYERS: 20, JOINT: 20}

# What decides the outcome of each stage; a change to anything else must not train again.
_COMMON = (
    "vectors",
    "initialisation",
    "per_image_token",
    "prior_preservation",
    "prior_weight",
    "prior_images",
    "batch_size",
    "micro_batch",
    "clip_norm",
    "seed",
)
_DECIDES = {
    EMBEDDING: (*_COMMON, "embedding_learning_rate"),
    LAYERS: (*_COMMON, "layer_learning_rate", "method", "rank"),
    JOINT: (*_COMMON, "embedding_learning_rate", "layer_learning_rate", "method", "rank"),
}

SAMPLED = "a photo of {} {} on the beach"  # the prompt whose picture shows what has been learned so far
SAMPLE_SEED = 0

OnSample = Callable[[int, Tensor], None]  # step, images (1, H, W, 3) in 0..1


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage learned by `step`; `note` says how it was come by (trained, resumed, remembered).

    `samples` holds the codes (1, rows, columns) of one prompt and seed at kept steps, where they were asked for.
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
    samples: int = 0,
    on_sample: OnSample | None = None,
) -> list[StageResult]:
    """Run the strategy's stages; the last result is the personalization, earlier ones are what it stands on."""
    trainer = StageTrainer(model, subject, settings, runs, identifier, progress, cancel, samples, on_sample)
    if settings.strategy == "joint":
        return [trainer.run(JOINT, settings.layer_steps)]
    results = [trainer.run(EMBEDDING, settings.embedding_steps)]
    if settings.strategy == "two_stage":
        results.append(trainer.run(LAYERS, settings.layer_steps, results[0].personalization))
    return results


class StageTrainer:
    """Runs single stages for one subject; the nodes and `personalize` share it."""

    def __init__(
        self,
        model: ARModel,
        subject: Subject,
        settings: TrainingSettings,
        runs: Path,
        identifier: str = "[V]",
        progress: Progress = silent,
        cancel: Cancel = never,
        samples: int = 0,
        on_sample: OnSample | None = None,
    ):
        """`samples`: of so many kept steps per stage, the last among them, one picture is drawn, remembered and shown."""
        if model.applied:
            names = ", ".join(i.name for i in model.identifiers)
            raise PersonalizationError(
                f"The model is already personalized ({names}). Train on the model as it was loaded."
            )
        if model.transformer.quantized and settings.method == "full" and settings.strategy != "embedding_only":
            raise PersonalizationError(
                f"Full q/k/v training needs the weights in 16 or 32 bits, and this model holds them in {model.transformer.quantized}. "
                "Load it in another precision, or choose the method LoRA."
            )
        self.model, self.subject, self.settings, self.runs = model, subject, settings, Path(runs)
        self.identifier = check_identifier_name(identifier)
        self.progress, self.cancel, self.samples, self.on_sample = progress, cancel, samples, on_sample
        self.losses: list[float] = []  # of the stage that runs, growing

    @torch.inference_mode(False)
    @torch.enable_grad()
    def run(self, stage: str, steps: int, start: Personalization | None = None) -> StageResult:
        """Learn `stage` for `steps` steps in all, on top of `start`'s vectors where given."""
        self._check_start(start)
        run = self._folder(stage, start)
        note = "trained"
        latest = run.latest()
        if kept := _remembered(run, steps, latest.step if latest else 0):
            note = (
                "remembered"
                if kept == steps
                else f"remembered: the kept result nearest to {steps} steps is the one at {kept}"
            )
            trainable = self._trainable(stage, start)
            trainable.load_state_dict(run.result(kept))
            losses = latest.losses[:kept] if latest else []
            return self._result(stage, trainable, losses, kept, note, run, self._kept_samples(stage, start, kept, run))
        if latest:
            note = f"went on from step {latest.step}"
        if stage != EMBEDDING:
            check_budget(self.model.transformer, self.settings.method, self.settings.rank, self.runs)
        run.open()
        trainable = self._trainable(stage, start)
        loop = self._loop(stage, trainable, run)
        self.losses = loop.losses
        planned, samples = sampled_steps(stage, steps, self.samples), self._kept_samples(stage, start, steps, run)

        def on_keep(step: int) -> None:
            if step in planned:
                samples[step] = self._sample(stage, start, step, run, trainable)

        loop.train(steps, lambda *a: self.progress(*a[:2], f"{stage}: {a[2]}"), self.cancel, on_keep)
        return self._result(stage, trainable, loop.losses, loop.step, note, run, samples)

    def _check_start(self, start: Personalization | None) -> None:
        if start is None:
            return
        if start.base_fingerprint != self.model.fingerprint:
            raise PersonalizationError(
                f'"{start.identifier} {start.class_name}" was learned on another base model (fingerprint {start.base_fingerprint}, '
                f"this one has {self.model.fingerprint}). Learn the identifier on this model first."
            )
        if start.adapter is not None:
            raise PersonalizationError(
                f'"{start.identifier} {start.class_name}" already changes the layers. Start from an embedding alone, or from nothing.'
            )

    def _folder(self, stage: str, start: Personalization | None) -> Run:
        settings = self.settings.describe()
        fields = {
            "base": self.model.fingerprint,
            "photos": self.subject.source,
            "class": self.subject.class_name,
            "size": list(self.subject.size),
            "stage": stage,
            "settings": {
                name: settings[name]
                for name in _DECIDES[stage]
                if not (name == "rank" and self.settings.method == "full")
            },
            "start": tensor_hash(start.vectors) if start else None,
        }
        if self.model.transformer.quantized:
            fields["weights"] = self.model.transformer.quantized
        return Run(self.runs, f"{self.subject.class_name}-{stage}", fields)

    def _trainable(self, stage: str, start: Personalization | None) -> Trainable:
        model, settings = self.model, self.settings
        if start is not None:
            vectors = start.vectors.clone().to(model.device)
        else:
            vectors = initial_vectors(
                model.transformer,
                model.protocol,
                self.subject.class_name,
                settings.vectors,
                settings.initialisation,
                settings.seed,
            ).to(model.device)
        photo_vectors = None
        if settings.per_image_token and stage != LAYERS:
            photo_vectors = initial_vectors(
                model.transformer, model.protocol, "photo", self.subject.photos, "random", settings.seed + 1
            )
            photo_vectors = photo_vectors.to(model.device)
        adapter = (
            None
            if stage == EMBEDDING
            else new_adapter(model.transformer, settings.method, settings.rank, settings.seed)
        )
        return Trainable(vectors, photo_vectors, adapter)

    def _loop(self, stage: str, trainable: Trainable, run: Run) -> Loop:
        settings, protocol = self.settings, self.model.protocol
        rates = {} if stage == LAYERS else {"vectors": settings.embedding_learning_rate}
        if trainable.photo_vectors is not None:
            rates["photo_vectors"] = settings.embedding_learning_rate
        if trainable.adapter is not None:
            rates["adapter"] = settings.layer_learning_rate
        return Loop(
            self.model.transformer,
            trainable,
            rates,
            self._batches(trainable, run),
            run,
            first_row_id=protocol.identifier_base,
            micro_batch=settings.micro_batch,
            clip_norm=settings.clip_norm,
            keep_every=KEEP_EVERY[stage],
            gradient_checkpointing=settings.gradient_checkpointing,
        )

    def _batches(self, trainable: Trainable, run: Run):
        """Step -> the subject's batch and, with prior preservation, the class's."""
        subject, settings, protocol = self.subject, self.settings, self.model.protocol
        base = protocol.identifier_base
        identifier = Identifier(self.identifier, subject.class_name, base, len(trainable.vectors))
        photo_tokens = (
            ()
            if trainable.photo_vectors is None
            else tuple(
                Identifier(f"[photo{i}]", "", base + len(trainable.vectors) + i, 1) for i in range(subject.photos)
            )
        )
        examples = Examples(subject, protocol, identifier, settings.batch_size, settings.seed, photo_tokens)
        if not settings.prior_preservation:
            return lambda step: [(examples(step), 1.0)]
        sentence = f"a photo of a {subject.class_name}"
        codes = run.remembered("prior")
        if codes is None:
            codes = self._draw_prior(sentence, run)
        prior = PriorExamples(
            codes,
            protocol.prompt(sentence, subject.size),
            protocol,
            subject.size,
            settings.batch_size,
            settings.seed,
        )
        return lambda step: [(examples(step), 1.0), (prior(step), settings.prior_weight)]

    def _draw_prior(self, sentence: str, run: Run) -> Tensor:
        """Codes of class pictures, in batches that depend on how many there are; a batch is never drawn twice."""
        sampling = SamplingSettings.resolve(self.model.family, size=self.subject.size, seed=self.settings.seed)
        count = self.settings.prior_images

        def drawn(done: int) -> Iterator[Tensor]:
            for first in range(done, count, PRIOR_BATCH):
                batch = [sentence] * min(PRIOR_BATCH, count - first)
                images = self.model.generate(batch, sampling, first_image=first, cancel=self.cancel)
                yield torch.cat([image.codes for image in images]).clone()
                self.progress(first + len(batch), count, "drawing class images")

        return collected(run, "prior", drawn)

    def _kept_samples(self, stage: str, start: Personalization | None, steps: int, run: Run) -> dict[int, Tensor]:
        """The samples of steps that were kept before, up to `steps`."""
        kept = run.kept()
        return {
            step: self._sample(stage, start, step, run)
            for step in sampled_steps(stage, steps, self.samples)
            if step in kept
        }

    def _sample(
        self,
        stage: str,
        start: Personalization | None,
        step: int,
        run: Run,
        trainable: Trainable | None = None,
    ) -> Tensor:
        """Codes of the sample at a kept step, drawn once and then remembered beside it; `trainable` if it stands there."""
        name = f"sample-{step:06d}"
        codes = run.remembered(name) if step in run.kept() else None
        if codes is None:
            if trainable is None:
                trainable = self._trainable(stage, start)
                trainable.load_state_dict(run.result(step))
            model = self.model.with_identifier(self._personalization(stage, trainable, step))
            settings = SamplingSettings.resolve(model.family, size=self.subject.size, seed=SAMPLE_SEED)
            with attached(model.transformer, trainable.adapter):
                image = model.generate(
                    SAMPLED.format(self.identifier, self.subject.class_name), settings, cancel=self.cancel
                )[0]
            codes = image.codes.clone()
            run.remember(name, codes)
        if self.on_sample is not None:
            self.on_sample(step, self.model.decode(codes))
        return codes

    def _result(self, stage, trainable, losses, step, note, run, samples) -> StageResult:
        return StageResult(self._personalization(stage, trainable, step), losses, step, note, run.folder, samples)

    def _personalization(self, stage: str, trainable: Trainable, step: int) -> Personalization:
        recipe = {
            **self.settings.describe(),
            "stage": stage,
            "steps": step,
            "photos": self.subject.photos,
            "size": list(self.subject.size),
        }
        vectors = trainable.vectors.detach().clone().cpu()
        return Personalization(
            self.identifier, self.subject.class_name, vectors, trainable.adapter, self.model.fingerprint, recipe
        )


def sampled_steps(stage: str, steps: int, count: int) -> list[int]:
    """`count` of the steps that a training of `steps` steps keeps, evenly spread, the last among them."""
    every = KEEP_EVERY[stage]
    kept = sorted({*range(every, steps, every), steps})
    spaced = {kept[-1 - round(i * len(kept) / count)] for i in range(count) if round(i * len(kept) / count) < len(kept)}
    return sorted(spaced)


def _remembered(run: Run, steps: int, latest: int) -> int | None:
    """The kept step that answers a request for `steps`: exactly it, or the nearest when training is already beyond."""
    kept = run.kept()
    if steps in kept:
        return steps
    if latest > steps and kept:
        return min(kept, key=lambda step: (abs(step - steps), step))
    return None


def tensor_hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
