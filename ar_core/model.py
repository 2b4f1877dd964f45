"""ARModel: text tokenizer + transformer + image tokenizer, and the personalizations applied to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from . import layers
from .adapters import Adapter, attached, merged
from .checkpoints.find import find
from .checkpoints.load import load_image_tokenizer, load_transformer
from .checkpoints.reader import CheckpointError
from .control import Cancel, Progress, never, silent
from .families.family import Family
from .families.lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from .families.miniature import MINIATURE
from .families.protocol import Size
from .families.registry import FAMILIES, family_by_name
from .image_tokenizer.vqgan import ImageTokenizer
from .personalization import Personalization, PersonalizationError
from .quantization import SCHEMES
from .sampling import SamplingSettings, jacobi, sequential
from .sampling.engine import Engine
from .sampling.sequential import OnRow
from .sampling.settings import auto_window
from .text import Identifier, TextTokenizer, check_identifier_name, resolve
from .transformer import Transformer

MINIATURE_FOLDER = Path(__file__).parent / "miniature" / "weights"
PREVIEW_SECONDS, PREVIEW_PAUSE = 1.0, 9  # between previews: a second, or so many times what the last one took
SMALL_BYTES = 2**30  # bytes of weights; up to here float32 costs a CPU nothing


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
    **{scheme: Precision(quantized=scheme) for scheme in SCHEMES},
}


@dataclass(frozen=True, eq=False)
class Applied:
    """A personalization in use: under which name, at which strength."""

    personalization: Personalization
    strength: float
    identifier: Identifier


@dataclass(frozen=True, eq=False)
class Generated:
    """Images (n, H, W, 3), float32 in 0..1; their codes (n, rows, columns); the prompt as it was read; resolved settings."""

    images: Tensor
    codes: Tensor
    prompt: str
    settings: SamplingSettings
    steps: int  # forward passes after the prompt, for the whole batch


@dataclass(frozen=True, eq=False)
class ARModel:
    """Everything one model needs. Never changes: applying a personalization gives another ARModel."""

    family: Family
    text: TextTokenizer
    transformer: Transformer
    image_tokenizer: ImageTokenizer
    fingerprint: str
    base: Transformer
    applied: tuple[Applied, ...] = ()
    beside: tuple[
        tuple[Adapter, float], ...
    ] = ()  # changes that are computed beside the weights while sampling, at their strengths

    @classmethod
    def load(
        cls,
        path: Path | str = "miniature",
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        *,
        quantized: str | None = None,
        family: str | None = None,
        vq: Path | str | None = None,
        tokenizer: Path | str | None = None,
        operations=layers,
        progress: Progress = silent,
        cancel: Cancel = never,
    ) -> ARModel:
        """Load any layout that `checkpoints` knows; "miniature" is the model that ships.

        `dtype` None takes bfloat16, but float32 for a small model on a CPU. `quantized`, one of `quantization.SCHEMES`,
        holds the layers' projections in 8 or 4 bits and everything else in `dtype`, None being bfloat16 everywhere. Raises
        CheckpointError and QuantizationError.
        """
        folder = MINIATURE_FOLDER if str(path) == MINIATURE.name else Path(path)
        device = torch.device(device)
        files = find(folder, vq, tokenizer)
        dtype = dtype or (
            torch.float32 if device.type == "cpu" and not quantized and files.size < SMALL_BYTES else torch.bfloat16
        )
        chosen = family_by_name(family) if family else guess_family(folder, files.config)
        protocol = chosen.protocol
        transformer, fingerprint = load_transformer(
            files,
            protocol.code_base,
            protocol.codes,
            operations=operations,
            device=device,
            dtype=dtype,
            quantized=quantized,
            progress=progress,
            cancel=cancel,
        )
        known = files.config.get("known_words")
        text = TextTokenizer.load(files.tokenizer, protocol, frozenset(known) if known else None)
        image_tokenizer = load_image_tokenizer(files, device=device)
        if image_tokenizer.config.n_embed != protocol.codes:
            raise CheckpointError(
                f"The image tokenizer in {files.vq or folder} has {image_tokenizer.config.n_embed} codes, {chosen.title} needs "
                f"{protocol.codes}. Put the model's own image tokenizer there."
            )
        return cls(chosen, text, transformer, image_tokenizer, fingerprint, transformer)

    @property
    def device(self) -> torch.device:
        return self.transformer.compute_device

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        return tuple(a.identifier for a in self.applied)

    @property
    def rows(self) -> Tensor | None:
        """The applied identifiers' vectors in the order of their reserved tokens (R, hidden), float32."""
        used = [a.personalization.vectors for a in self.applied]
        return torch.cat(used).to(self.device) if used else None

    def personalized(self, personalization: Personalization, strength: float = 1.0, name: str | None = None) -> ARModel:
        """This model knowing one subject more, in prompts called `name` (default: the saved identifier).

        `strength` scales the change of the transformer; 0 is exactly the model as it was, with the identifier
        left out of prompts: the "before". Beside quantised weights the change is computed anew in every step, else it is
        merged. Raises PersonalizationError for a file made for another base, a name already taken, no reserved tokens
        left, or a full change of quantised weights.
        """
        knowing = self.knowing(personalization, strength, name)
        changes = tuple(
            (a.personalization.adapter, a.strength) for a in knowing.applied if a.personalization.adapter and a.strength
        )
        if self.base.quantized:
            return replace(knowing, beside=changes)
        return replace(knowing, transformer=merged(self.base, changes) if changes else self.base)

    def knowing(self, personalization: Personalization, strength: float = 1.0, name: str | None = None) -> ARModel:
        """As `personalized`, for a host that changes the transformer's weights itself: only the identifier is added."""
        name = check_identifier_name(name or personalization.identifier)
        if personalization.base_fingerprint != self.fingerprint:
            raise PersonalizationError(
                f'"{name} {personalization.class_name}" was trained on another base model (fingerprint '
                f"{personalization.base_fingerprint}, this one has {self.fingerprint}). Load the model it was trained on."
            )
        if self.base.quantized and personalization.adapter is not None and personalization.adapter.method == "full":
            raise PersonalizationError(
                f'"{name} {personalization.class_name}" changes q, k and v in full, which {self.base.quantized} weights cannot take. '
                "Load the model in another precision, or train the subject with the method LoRA."
            )
        if name in [i.name for i in self.identifiers]:
            raise PersonalizationError(
                f"Two personalizations are both called {name}. Give the second another identifier, for example [W]."
            )
        first, count = self._free_rows(), len(personalization.vectors)
        protocol = self.family.protocol
        if first + count > protocol.identifier_base + protocol.identifiers:
            raise PersonalizationError(
                f"{name} needs {count} reserved tokens, but too few are free. Apply fewer personalizations at once."
            )
        identifier = Identifier(name, personalization.class_name, first, count, dropped=strength == 0)
        return replace(self, applied=(*self.applied, Applied(personalization, strength, identifier)))

    def _free_rows(self) -> int:
        return max((i.first_id + i.count for i in self.identifiers), default=self.family.protocol.identifier_base)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) in 0..1 -> codes (B, rows, columns)."""
        return self.image_tokenizer.encode(images).cpu()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, rows, columns) -> images (B, H, W, 3) in 0..1, one at a time: memory stays that of one."""
        return torch.cat([self.image_tokenizer.decode(c[None]).cpu() for c in codes])

    def generate(
        self,
        prompts: str | Sequence[str],
        settings: SamplingSettings,
        *,
        first_image: int = 0,
        progress: Progress = silent,
        cancel: Cancel = never,
        on_preview: Callable[[Tensor], None] | None = None,
        graphs: bool = False,
        compiled: bool = False,
    ) -> list[Generated]:
        """Sample one image per prompt, all in one batch.

        Image k uses the random numbers of image `first_image` + k of the seed. `on_preview` receives the first
        image (1, H, W, 3) as it grows, at most once a second and for a tenth of the time, grey where nothing is drawn
        yet. `graphs`: see `sampling.graphs`; without CUDA it changes nothing. `compiled`: through torch.compile. Raises
        TextError for a prompt that cannot be read.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        final = [resolve(prompt, self.identifiers) for prompt in prompts]
        ids = [self.text.prompt_ids(prompt, settings.size, self.identifiers) for prompt in final]
        window = settings.window or auto_window(
            self.device.type,
            self.transformer.model.norm.weight.dtype,
            len(ids),
            self.transformer.config.hidden_size,
            self.transformer.quantized,
        )
        settings = replace(settings, window=window)
        decode = sequential.decode if window == 1 else jacobi.decode
        with self.personalizing():
            decoded = decode(  # the engine and its cache are gone before pictures are made
                Engine(
                    self.transformer,
                    self.family.protocol,
                    ids,
                    settings.size,
                    settings.cfg,
                    self.rows,
                    window,
                    graphs,
                    compiled,
                ),
                settings,
                first_image=first_image,
                progress=progress,
                cancel=cancel,
                on_row=on_preview and self._preview(on_preview),
            )
        images, codes = self.decode(decoded.codes), decoded.codes
        return [
            Generated(images[k : k + 1], codes[k : k + 1], final[k], settings, decoded.steps) for k in range(len(final))
        ]

    @contextmanager
    def personalizing(self) -> Iterator[None]:
        """While this lasts, the transformer computes with what is applied beside it."""
        with ExitStack() as stack:
            for adapter, strength in self.beside:
                ready = adapter.frozen(self.device, self.transformer.model.norm.weight.dtype)
                stack.enter_context(attached(self.transformer, ready, strength))
            yield

    def check_prompt(self, prompt: str, size: Size) -> str:
        """The prompt as it will be read. Raises TextError for one that cannot be."""
        final = resolve(prompt, self.identifiers)
        self.text.prompt_ids(final, size, self.identifiers)
        return final

    def _preview(self, show: Callable[[Tensor], None]) -> OnRow:
        due = time.monotonic() + PREVIEW_SECONDS

        def on_row(codes: Tensor, rows: int) -> None:
            nonlocal due
            began = time.monotonic()
            if began < due:
                return
            image = self.decode(codes[:1])
            image[:, rows * self.family.protocol.factor :] = 0.5
            show(image)
            ended = time.monotonic()
            due = ended + max(PREVIEW_SECONDS, PREVIEW_PAUSE * (ended - began))

        return on_row


def guess_family(folder: Path, config: dict) -> Family:
    """The family named in config.json, else Lumina-mGPT at the resolution in the folder's name (768 if none)."""
    if "family" in config:
        return family_by_name(config["family"])
    for family in (LUMINA_512, LUMINA_1024):
        if str(family.recipe.size[0]) in folder.resolve().name:
            return family
    return FAMILIES[LUMINA_768.name]
