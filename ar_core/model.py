"""ARModel: text tokenizer, transformer and image tokenizer of a model, and the personalizations applied to them."""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from . import layers
from .adapters import Adapter, attach_adapter, merge_adapters, target_shapes
from .checkpoints.errors import CheckpointError
from .checkpoints.find import Files, ModelFolder, find_parts, open_folder
from .checkpoints.load import load_image_tokenizer, load_transformer
from .concepts import Concepts
from .control import Cancel, Progress, never, silent
from .families.family import Family
from .families.miniature import MINIATURE
from .families.protocol import Protocol, Size
from .families.registry import choose_family
from .image_tokenizer.vqgan import ImageTokenizer
from .personalization import Personalization, PersonalizationError
from .quantization import EXPERIMENTAL, SCHEMES
from .sampling import SamplingSettings, jacobi, sequential
from .sampling.engine import Engine, NothingToDraw
from .sampling.sequential import Decoded, OnRow
from .sampling.settings import auto_window
from .sampling.steps import KeptSteps, StepOptions
from .styles import full_name
from .text import Identifier, TextTokenizer, check_identifier_name, resolve_prompt
from .transformer import Transformer

MINIATURE_FOLDER = Path(__file__).parent / "miniature" / "weights"
LARGEST_STRENGTH = 10
PREVIEW_SECONDS = 1.0  # from one preview to the next, at least
PREVIEW_PAUSE = 9  # so many times what the last preview took is spent on drawing before the next
SMALL_BYTES = 2**30  # bytes of weights; up to here float32 costs a CPU nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Precision:
    """What a model is held in."""

    dtype: torch.dtype | None = None  # None: it depends on the device
    quantized: str | None = None  # a scheme for the layers' projections alone


PRECISIONS = {
    "auto": Precision(),
    "bf16": Precision(torch.bfloat16),
    "fp16": Precision(torch.float16),
    "fp32": Precision(torch.float32),
    **{scheme: Precision(quantized=scheme) for scheme in (*SCHEMES, *EXPERIMENTAL)},
}


@dataclass(frozen=True, eq=False)
class Applied:
    """A personalization in use: at which strength, and where its vectors are in prompts.

    `changes_layers` is False where somebody else applies the change of the layers, such as ComfyUI's patches.
    """

    personalization: Personalization
    strength: float
    identifier: Identifier
    changes_layers: bool = True

    @property
    def concept(self) -> Tensor:
        """What stands at the identifier's positions, at its strength (depth, n, hidden)."""
        return self.personalization.concept_at(self.strength)


@dataclass(frozen=True, eq=False)
class Generated:
    """One generated image.

    images: (1, H, W, 3), float32 in 0..1
    codes: (1, rows, columns)
    prompt: as it was read
    settings: with every value resolved
    steps: forward passes after the prompt, for the whole batch
    """

    images: Tensor
    codes: Tensor
    prompt: str
    settings: SamplingSettings
    steps: int


_LOCKS: WeakKeyDictionary[Transformer, threading.RLock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@contextmanager
def drawing_alone(base: Transformer) -> Iterator[None]:
    """While this lasts, no other thread draws with models of this base: they share its hooks and its kept cache."""
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(base, threading.RLock())
    with lock:
        yield


@dataclass(frozen=True, eq=False)
class ARModel:
    """Everything one model needs. Never changes: applying a personalization gives another ARModel.

    `base` is the transformer as it was loaded, and `applied` are the personalizations in use; `transformer` and
    `unmerged` follow from the two. `notes` are sentences for the user about how the model was loaded.
    """

    family: Family
    protocol: Protocol
    base: Transformer
    image_tokenizer: ImageTokenizer
    fingerprint: str
    applied: tuple[Applied, ...] = ()
    notes: tuple[str, ...] = ()

    # ---------------------------------------------------------------- loading

    @classmethod
    def load(
        cls,
        path: Path | str = MINIATURE.name,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        *,
        quantized: str | None = None,
        family: str | None = None,
        vq: Path | str | None = None,
        tokenizer: Path | str | None = None,
        operations: Any = layers,
        progress: Progress = silent,
        cancel: Cancel = never,
    ) -> ARModel:
        """Load a model folder in any format that `checkpoints` knows; "miniature" is the model that ships.

        `dtype` None takes bfloat16, but float32 for a small model on a CPU. `quantized`, one of `quantization.SCHEMES`
        or EXPERIMENTAL, holds the layers' projections in 8 or 4 bits and everything else in `dtype`, None being
        bfloat16 everywhere.
        `family`: a name in `families.registry.FAMILIES`; None recognises it by the files' contents, and where those
        leave a question, `notes` has it. `vq`, `tokenizer`: files of the image and the text tokenizer that are not in
        the folder or near it. `operations`: a namespace with torch.nn's layers. Raises CheckpointError,
        QuantizationError and Cancelled.
        """
        folder = open_folder(MINIATURE_FOLDER if str(path) == MINIATURE.name else path)
        choice = choose_family(folder, family)
        log.info("%s holds %s (%s)", folder.path, choice.family.title, choice.reason)
        if choice.question:
            log.info("%s", choice.question)
        files = find_parts(folder, choice.family.sources, vq, tokenizer)
        text = TextTokenizer.load(files.tokenizer, folder.known_words())
        protocol = choice.family.bind(text, folder)
        log.info("Read the text tokenizer from %s", files.tokenizer)
        device = torch.device(device)
        transformer, fingerprint = load_transformer(
            files,
            choice.family,
            protocol,
            operations=operations,
            device=device,
            dtype=dtype or _default_dtype(folder, device, quantized),
            quantized=quantized,
            progress=progress,
            cancel=cancel,
        )
        image_tokenizer = load_image_tokenizer(files, device=device)
        _check_image_tokenizer(image_tokenizer, files, choice.family)
        log.info("Fingerprint %s, held in %s on %s", fingerprint, transformer.precision, device)
        notes = tuple(note for note in (choice.question, choice.family.doubt(text, folder)) if note)
        return cls(choice.family, protocol, transformer, image_tokenizer, fingerprint, notes=notes)

    # ---------------------------------------------------------------- what follows from the fields

    @property
    def text(self) -> TextTokenizer:
        """The text tokenizer."""
        return self.protocol.text

    @property
    def device(self) -> torch.device:
        """Where the transformer computes."""
        return self.base.device

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """The names in use, in the order in which they were applied."""
        return tuple(applied.identifier for applied in self.applied)

    @property
    def concepts(self) -> Concepts | None:
        """What the applied identifiers' reserved tokens stand for, in their order; None without any.

        Deep concepts are kept apart from each other in a prompt that has several (`Concepts.identity_mask`). Embeddings
        alone are not: they are read as words are, and pictures with two of them stay as they always were.
        """
        if not self.applied:
            return None
        parts = [applied.concept.to(self.device) for applied in self.applied]
        deep = [applied.personalization.is_deep for applied in self.applied]
        return Concepts.stacked(parts, self.protocol.identifier_base, deep)

    @functools.cached_property
    def transformer(self) -> Transformer:
        """What computes: the base, or a copy of it into which the changes of its layers are merged."""
        if self.base.quantized or not self.changes:
            return self.base
        return merge_adapters(self.base, self.changes)

    @property
    def has_merged(self) -> bool:
        """Whether the copy with the merged changes was made: its memory is taken already."""
        return "transformer" in self.__dict__

    @property
    def unmerged(self) -> list[tuple[Adapter, float]]:
        """Adapters that quantised weights cannot take, with their strengths: computed anew in every forward pass."""
        if self.base.quantized:
            return self.changes
        return []

    @property
    def changes(self) -> list[tuple[Adapter, float]]:
        """The adapters in use that this model applies itself, with their strengths."""
        changes = []
        for applied in self.applied:
            adapter = applied.personalization.adapter
            if applied.changes_layers and adapter is not None and applied.strength:
                changes.append((adapter, applied.strength))
        return changes

    # ---------------------------------------------------------------- personalizations

    def personalized(self, personalization: Personalization, strength: float = 1.0, name: str | None = None) -> ARModel:
        """This model with `personalization` applied: its identifier in prompts, its change in the layers.

        `name` is what prompts call it (None: the saved identifier). `strength` scales the change of the layers, and
        the way of a deep concept from where it started; 0 is exactly the model as it was, with the identifier left out
        of prompts: the "before". Raises PersonalizationError for a file made for another base, a name already taken, no
        reserved tokens left, or a full change of quantised weights.

        Several may be applied, each under its own name. Deep concepts stand side by side and concern only the prompts
        that name them, so one batch can draw different subjects. Changes of layers add up, and concern every prompt.
        """
        applied = self._applicable(personalization, strength, name)
        return replace(self, applied=(*self.applied, applied))

    def with_identifier(
        self, personalization: Personalization, strength: float = 1.0, name: str | None = None
    ) -> ARModel:
        """As `personalized` without the change of the layers, for a caller that makes this change himself."""
        applied = self._applicable(personalization, strength, name)
        return replace(self, applied=(*self.applied, replace(applied, changes_layers=False)))

    def _applicable(self, personalization: Personalization, strength: float, name: str | None) -> Applied:
        """`personalization` with the reserved tokens behind those in use. Raises PersonalizationError."""
        if not abs(strength) <= LARGEST_STRENGTH:  # false for what is no number, too
            raise PersonalizationError(
                f"strength is {strength}; it must be from -{LARGEST_STRENGTH} to {LARGEST_STRENGTH} (1 is as learned, "
                "0 the model as it was)."
            )
        name = check_identifier_name(name or personalization.identifier)
        subject = f'"{full_name(name, personalization.class_name)}"'
        if personalization.base_fingerprint != self.fingerprint:
            raise PersonalizationError(
                f"{subject} was trained on another base model (fingerprint {personalization.base_fingerprint}, "
                f"this one has {self.fingerprint}). Load the model it was trained on."
            )
        depth, count, width = personalization.concept.shape
        if width != self.base.config.hidden_size:
            raise PersonalizationError(
                f"{subject} has vectors of {width} numbers, this model's have {self.base.config.hidden_size}: the file "
                "is damaged or was changed. Copy or train it again."
            )
        if depth > self.base.config.num_hidden_layers:
            raise PersonalizationError(
                f"{subject} has vectors for {depth} layers, this model has {self.base.config.num_hidden_layers}: the "
                "file is damaged or was changed. Copy or train it again."
            )
        if personalization.adapter is not None:
            known = target_shapes(self.base)
            for projection in personalization.adapter.names():
                if known.get(projection) != personalization.adapter.shape(projection):
                    raise PersonalizationError(
                        f"{subject} changes {projection}, which this model does not have in that shape: the file is "
                        "damaged or was changed. Copy or train it again."
                    )
        if self.base.quantized and personalization.adapter is not None and personalization.adapter.method == "full":
            raise PersonalizationError(
                f"{subject} changes q, k and v in full, which {self.base.quantized} weights cannot take. "
                "Load the model in another precision, or train the subject with the method LoRA."
            )
        taken = [identifier.name for identifier in self.identifiers]
        if name in taken:
            free = next(other for other in _example_names() if other not in taken)
            raise PersonalizationError(
                f"Two personalizations are both called {name}. Give the second another identifier, for example {free}."
            )
        first = self.protocol.identifier_base + sum(identifier.tokens for identifier in self.identifiers)
        if first + count > self.protocol.identifier_base + self.protocol.identifiers:
            raise PersonalizationError(
                f"{name} needs {count} reserved tokens, but too few are free. Apply fewer personalizations at once."
            )
        images = 0 if personalization.image_vectors is None else personalization.image_vectors.shape[1]
        identifier = Identifier(name, personalization.class_name, first, count - images, strength == 0, images)
        return Applied(personalization, strength, identifier)

    @contextmanager
    def personalizing(self) -> Iterator[None]:
        """While this lasts, the transformer computes with the unmerged adapters."""
        with ExitStack() as stack:
            for adapter, strength in self.unmerged:
                ready = adapter.frozen(self.device, self.transformer.dtype)
                stack.enter_context(attach_adapter(self.transformer, ready, strength))
            yield

    # ---------------------------------------------------------------- pictures

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) in 0..1 -> codes (B, rows, columns)."""
        return self.image_tokenizer.encode(images).cpu()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, rows, columns) -> images (B, H, W, 3) in 0..1, one at a time: memory stays that of one."""
        return torch.cat([self.image_tokenizer.decode(c[None]).cpu() for c in codes])

    def check_prompt(self, prompt: str, size: Size) -> str:
        """The prompt as it will be read. Raises TextError for one that cannot be."""
        final = resolve_prompt(prompt, self.identifiers)
        self.protocol.prompt(final, size, self.identifiers)
        return final

    def generate(
        self,
        prompts: str | Sequence[str],
        settings: SamplingSettings,
        *,
        first_image: int = 0,
        progress: Progress = silent,
        cancel: Cancel = never,
        on_preview: Callable[[Tensor], None] | None = None,
        options: StepOptions | None = None,
    ) -> list[Generated]:
        """Sample one image per prompt, all in one batch.

        Image k uses the random numbers of image `first_image` + k of the seed. `on_preview` receives the first
        image (1, H, W, 3) as it grows, at most once a second and for a tenth of the time, grey where nothing is drawn
        yet. `options`: how steps are run. Threads that draw with models of one base take turns. Raises TextError for a
        prompt that cannot be read, ValueError for an option that the device does not have, PersonalizationError for a
        subject with which the model's numbers are not finite, and Cancelled.
        """
        if isinstance(prompts, str):
            prompts = [prompts]
        if not prompts:
            return []
        final = [resolve_prompt(prompt, self.identifiers) for prompt in prompts]
        ids = [self.protocol.prompt(prompt, settings.size, self.identifiers) for prompt in final]
        settings = replace(settings, window=settings.window or self.auto_window(len(ids)))
        log.debug("Sampling %d images of %s, window %d", len(ids), settings.size, settings.window)
        on_row = None
        if on_preview is not None:
            on_row = self._preview(on_preview)

        def decoded() -> Decoded:
            engine = Engine(
                self.transformer,
                self.protocol,
                ids,
                settings.size,
                settings.cfg,
                self.concepts,
                settings.window,
                options,
                self._kept_steps(options),
            )
            decode = sequential.decode_sequentially if settings.window == 1 else jacobi.decode_jacobi
            return decode(engine, settings, first_image=first_image, progress=progress, cancel=cancel, on_row=on_row)

        with drawing_alone(self.base), self.personalizing():
            try:
                result = decoded()  # the engine and its KV cache are gone then, but for recorded steps that are kept
            except NothingToDraw as error:
                raise self._overflowing() or error from error
        images = self.decode(result.codes)
        return [
            Generated(images[k : k + 1], result.codes[k : k + 1], prompt, settings, result.steps)
            for k, prompt in enumerate(final)
        ]

    def _overflowing(self) -> PersonalizationError | None:
        """What to say of the subject with the largest numbers, which made the model's overflow; None without any."""
        if not self.applied:
            return None
        guilty = max(self.applied, key=lambda applied: applied.personalization.largest * abs(applied.strength))
        name = f'"{guilty.identifier.full_name}"'
        return PersonalizationError(
            f"With {name} the model gives no numbers to draw from: they are not finite, or all the same. The largest "
            f"number in its file is {guilty.personalization.largest:.1g}, at strength {guilty.strength:g}. Choose a "
            "strength of at most 1, copy the file again, or train it again with a lower learning rate."
        )

    @functools.cached_property
    def _steps(self) -> KeptSteps:
        return KeptSteps()

    def _kept_steps(self, options: StepOptions | None) -> KeptSteps | None:
        """Where steps wait for the next picture; None where nothing is recorded, or with adapters made for each."""
        if options is None or not options.graphs or self.unmerged:
            return None
        return self._steps

    @property
    def kept_bytes(self) -> int:
        """What waits for the next picture."""
        return self._steps.held_bytes()

    def auto_window(self, images: int, device: torch.device | None = None) -> int:
        """The window that "auto" stands for when so many images are drawn at once, on `device` where that differs."""
        return auto_window(
            (device or self.device).type,
            self.base.dtype,
            images,
            self.base.config.hidden_size,
            self.base.quantized,
        )

    def _preview(self, show: Callable[[Tensor], None]) -> OnRow:
        """An OnRow that decodes the first image now and then and shows it."""
        due = time.monotonic() + PREVIEW_SECONDS

        def on_row(codes: Tensor, rows: int) -> None:
            nonlocal due
            began = time.monotonic()
            if began < due:
                return
            image = self.decode(codes[:1])
            image[:, rows * self.protocol.factor :] = 0.5
            show(image)
            ended = time.monotonic()
            due = ended + max(PREVIEW_SECONDS, PREVIEW_PAUSE * (ended - began))

        return on_row


def _example_names() -> Iterator[str]:
    """Identifiers that a message can propose: [W], [V2], [V3], ..."""
    yield "[W]"
    for number in itertools.count(2):
        yield f"[V{number}]"


def _default_dtype(folder: ModelFolder, device: torch.device, quantized: str | None) -> torch.dtype:
    if device.type == "cpu" and not quantized and folder.size < SMALL_BYTES:
        return torch.float32
    return torch.bfloat16


def _check_image_tokenizer(image_tokenizer: ImageTokenizer, files: Files, family: Family) -> None:
    """Raise CheckpointError unless the image tokenizer is one that the family's codes belong to."""
    found = image_tokenizer.config
    where = files.image_tokenizer or files.path
    advice = "Put the model's own image tokenizer there."
    if found.n_embed != family.codes:
        raise CheckpointError(
            f"The image tokenizer in {where} has {found.n_embed} codes, {family.title} needs {family.codes}. {advice}"
        )
    if found.factor != family.factor:
        raise CheckpointError(
            f"The image tokenizer in {where} has a code for every {found.factor} pixels of a side, "
            f"{family.title} needs one for every {family.factor}. {advice}"
        )
