"""The stages and the strategies made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..control import Cancel, Progress, never, silent
from ..model import LuminaModel
from ..personalization import Personalization, PersonalizationError
from ..sampling import SamplingSettings
from ..text import Identifier, check_identifier_name
from .budget import check_budget
from .examples import Examples, PriorExamples
from .loop import Loop
from .runs import Run
from .settings import TrainingSettings
from .subject import Subject
from .trainable import Trainable, initial_vectors, new_adapter

EMBEDDING, LAYERS, JOINT = "embedding", "layers", "joint"
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

OnKeep = Callable[[int, Personalization], None]


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage learned by `step`; `note` says how it was come by (trained, resumed, remembered)."""

    personalization: Personalization
    losses: list[float]
    step: int
    note: str
    run: Path


def personalize(
    model: LuminaModel, subject: Subject, settings: TrainingSettings, runs: Path, *, identifier: str = "[V]",
    progress: Progress = silent, cancel: Cancel = never, on_keep: OnKeep | None = None,
) -> list[StageResult]:  # fmt: skip
    """Run the strategy's stages; the last result is the personalization, earlier ones are what it stands on."""
    trainer = StageTrainer(model, subject, settings, runs, identifier, progress, cancel, on_keep)
    if settings.strategy == "joint":
        return [trainer.run(JOINT, settings.layer_steps)]
    results = [trainer.run(EMBEDDING, settings.embedding_steps)]
    if settings.strategy == "two_stage":
        results.append(trainer.run(LAYERS, settings.layer_steps, results[0].personalization))
    return results


class StageTrainer:
    """Runs single stages for one subject; the nodes and `personalize` share it."""

    def __init__(
        self, model: LuminaModel, subject: Subject, settings: TrainingSettings, runs: Path, identifier: str = "[V]",
        progress: Progress = silent, cancel: Cancel = never, on_keep: OnKeep | None = None,
    ):  # fmt: skip
        if model.applied:
            names = ", ".join(i.name for i in model.identifiers)
            raise PersonalizationError(f"The model is already personalized ({names}). Train on the model as it was loaded.")
        self.model, self.subject, self.settings, self.runs = model, subject, settings, Path(runs)
        self.identifier = check_identifier_name(identifier)
        self.progress, self.cancel, self.on_keep = progress, cancel, on_keep

    @torch.inference_mode(False)
    @torch.enable_grad()
    def run(self, stage: str, steps: int, start: Personalization | None = None) -> StageResult:
        """Learn `stage` for `steps` steps in all, on top of `start`'s vectors where given."""
        run = self._folder(stage, start)
        note = "trained"
        latest = run.latest()
        if kept := _remembered(run, steps, latest.step if latest else 0):
            note = "remembered" if kept == steps else f"remembered: the kept result nearest to {steps} steps is the one at {kept}"
            trainable = self._trainable(stage, start)
            trainable.load_state_dict(run.result(kept))
            return self._result(stage, trainable, latest.losses[:kept] if latest else [], kept, note, run)
        if latest:
            note = f"went on from step {latest.step}"
        if stage != EMBEDDING:
            check_budget(self.model.transformer, self.settings.method, self.settings.rank, self.runs)
        run.open()
        trainable = self._trainable(stage, start)
        loop = self._loop(stage, trainable, run)
        loop.train(
            steps, lambda *a: self.progress(*a[:2], f"{stage}: {a[2]}"), self.cancel, lambda step: self._kept(stage, trainable, step)
        )
        return self._result(stage, trainable, loop.losses, loop.step, note, run)

    def _folder(self, stage: str, start: Personalization | None) -> Run:
        settings = self.settings.describe()
        fields = {
            "base": self.model.fingerprint, "photos": self.subject.source, "class": self.subject.class_name,
            "size": list(self.subject.size), "stage": stage,
            "settings": {name: settings[name] for name in _DECIDES[stage] if not (name == "rank" and self.settings.method == "full")},
            "start": tensor_hash(start.vectors) if start else None,
        }  # fmt: skip
        return Run(self.runs, f"{self.subject.class_name}-{stage}", fields)

    def _trainable(self, stage: str, start: Personalization | None) -> Trainable:
        model, settings = self.model, self.settings
        if start is not None:
            vectors = start.vectors.clone().to(model.device)
        else:
            vectors = initial_vectors(
                model.transformer, model.text, self.subject.class_name, settings.vectors, settings.initialisation, settings.seed
            )
        photo_vectors = None
        if settings.per_image_token and stage != LAYERS:
            photo_vectors = initial_vectors(model.transformer, model.text, "photo", self.subject.photos, "random", settings.seed + 1)
        adapter = None if stage == EMBEDDING else new_adapter(model.transformer, settings.method, settings.rank, settings.seed)
        return Trainable(vectors, photo_vectors, adapter)

    def _loop(self, stage: str, trainable: Trainable, run: Run) -> Loop:
        settings, protocol = self.settings, self.model.family.protocol
        rates = {} if stage == LAYERS else {"vectors": settings.embedding_learning_rate}
        if trainable.photo_vectors is not None:
            rates["photo_vectors"] = settings.embedding_learning_rate
        if trainable.adapter is not None:
            rates["adapter"] = settings.layer_learning_rate
        return Loop(
            self.model.transformer, trainable, rates, self._batches(trainable, run), run,
            first_row_id=protocol.identifier_base, micro_batch=settings.micro_batch, clip_norm=settings.clip_norm,
            keep_every=KEEP_EVERY[stage], gradient_checkpointing=settings.gradient_checkpointing,
        )  # fmt: skip

    def _batches(self, trainable: Trainable, run: Run):
        """Step -> the subject's batch and, with prior preservation, the class's."""
        subject, settings, text = self.subject, self.settings, self.model.text
        base = text.protocol.identifier_base
        identifier = Identifier(self.identifier, subject.class_name, base, len(trainable.vectors))
        photo_tokens = () if trainable.photo_vectors is None else tuple(
            Identifier(f"[photo{i}]", "", base + len(trainable.vectors) + i, 1) for i in range(subject.photos)
        )  # fmt: skip
        examples = Examples(subject, text, identifier, settings.batch_size, settings.seed, photo_tokens)
        if not settings.prior_preservation:
            return lambda step: [(examples(step), 1.0)]
        sentence = f"a photo of a {subject.class_name}"
        codes = run.remembered("prior")
        if codes is None:
            codes = self._draw_prior(sentence)
            run.remember("prior", codes)
        prior = PriorExamples(
            codes, text.prompt_ids(sentence, subject.size), text.protocol, subject.size, settings.batch_size, settings.seed
        )
        return lambda step: [(examples(step), 1.0), (prior(step), settings.prior_weight)]

    def _draw_prior(self, sentence: str) -> Tensor:
        sampling = SamplingSettings.resolve(self.model.family, size=self.subject.size, seed=self.settings.seed)
        count, drawn = self.settings.prior_images, []
        while len(drawn) < count:
            part = self.model.generate([sentence] * min(8, count - len(drawn)), sampling, first_image=len(drawn), cancel=self.cancel)
            drawn += [image.codes for image in part]
            self.progress(len(drawn), count, "drawing class images")
        return torch.cat(drawn).clone()

    def _kept(self, stage: str, trainable: Trainable, step: int) -> None:
        if self.on_keep is not None:
            self.on_keep(step, self._personalization(stage, trainable, step))

    def _result(self, stage, trainable, losses, step, note, run) -> StageResult:
        return StageResult(self._personalization(stage, trainable, step), losses, step, note, run.folder)

    def _personalization(self, stage: str, trainable: Trainable, step: int) -> Personalization:
        recipe = {**self.settings.describe(), "stage": stage, "steps": step, "photos": self.subject.photos, "size": list(self.subject.size)}
        vectors = trainable.vectors.detach().clone().cpu()
        return Personalization(self.identifier, self.subject.class_name, vectors, trainable.adapter, self.model.fingerprint, recipe)


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
