"""The one adapter to ComfyUI: folders, memory, patches, progress with previews, and cancel."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management as memory
import comfy.ops
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter.lora import LoRAAdapter
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

from ..ar_core import Cancelled, LuminaModel, Personalization
from ..ar_core.adapters import Adapter, LowRankAdapter
from ..ar_core.memory import quantized_bytes, weight_bytes
from ..ar_core.quantization import SCHEMES
from .sockets import ARModel

MODELS, SUBJECTS, SCORERS, RUNS = "lumina_mgpt", "lumina_mgpt_subjects", "lumina_mgpt_scorers", "_runs"
Interrupted = memory.InterruptProcessingException
PREVIEW = 512  # pixels of the longer side

# ---------------------------------------------------------------- folders


def register_folders() -> None:
    """Make our folders below `models` known, and there, so that users see where files go."""
    for name in (MODELS, SUBJECTS, SCORERS):
        folder = Path(folder_paths.models_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        folder_paths.add_model_folder_path(name, str(folder))


def folders(name: str) -> list[Path]:
    return [Path(folder) for folder in folder_paths.get_folder_paths(name) if Path(folder).is_dir()]


def subjects_folder() -> Path:
    """Where personalizations are saved."""
    return Path(folder_paths.get_folder_paths(SUBJECTS)[0])


def runs_folder() -> Path:
    """Where trainings are remembered."""
    return subjects_folder() / RUNS


def inside(name: str, kind: str) -> Path:
    """The file or folder `name` below one of the folders of `kind`. Raises ValueError for anything that lies elsewhere."""
    for base in folders(kind):
        path = (base / name).resolve()
        if path.is_relative_to(base.resolve()) and path.exists():
            return path
    raise ValueError(f'There is no "{name}" in {folders(kind)[0]}. Press R to read the folder again and choose from the list.')


def fingerprint(path: Path) -> str:
    """Changes when a file below `path` does."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return repr([(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()])


# ---------------------------------------------------------------- memory and patches


def _outside_inference_mode(name: str):
    method = getattr(ModelPatcher, name)

    def wrapped(self, *arguments, **options):
        with torch.inference_mode(False):
            return method(self, *arguments, **options)

    return wrapped


class Patcher(ModelPatcher):
    """A ModelPatcher whose weights can always be trained beside.

    ComfyUI runs nodes in inference mode. Weights moved or patched there, also by another pack's sampler that makes
    room, would become inference tensors, and the next training would fail.
    """

    load = _outside_inference_mode("load")
    patch_model = _outside_inference_mode("patch_model")
    unpatch_model = _outside_inference_mode("unpatch_model")
    partially_load = _outside_inference_mode("partially_load")
    partially_unload = _outside_inference_mode("partially_unload")
    detach = _outside_inference_mode("detach")


class WholePatcher(Patcher):
    """A Patcher for a module whose layers cannot be streamed: it is on the device as a whole, or not at all."""

    def load(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        super().load(device_to, lowvram_model_memory, force_patch_weights, full_load=True)

    def partially_unload(self, device_to, memory_to_free=0, force_patch_weights=False):
        return 0  # nothing was freed: ComfyUI then unloads the whole


class Layers(comfy.ops.disable_weight_init):
    """ComfyUI's layers: they can be streamed, cast and patched.

    Later versions (DynamicVRAM, the default on NVIDIA cards) build layers without weights and fill them in
    `load_state_dict`. Our loader fills them itself, tensor by tensor. A layer that has its own `_load_from_state_dict`
    is built with its weight, on meta, in every version.
    """

    class Linear(comfy.ops.disable_weight_init.Linear):
        def _load_from_state_dict(self, *arguments):
            torch.nn.Linear._load_from_state_dict(self, *arguments)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Where a streamed layer is trained through, with a copy of its own.

            ComfyUI would copy the weight into a buffer that the next layer's weight overwrites (or, with cudaMallocAsync, may
            overwrite) before backward reads it, and torch would not notice: wrong gradients without an error.
            """
            if self.comfy_cast_weights and torch.is_grad_enabled() and not self.weight_function:
                return torch.nn.functional.linear(x, self.weight.to(x))
            return super().forward(x)

    class Embedding(comfy.ops.disable_weight_init.Embedding):
        def _load_from_state_dict(self, *arguments):
            torch.nn.Embedding._load_from_state_dict(self, *arguments)

    class RMSNorm(torch.nn.RMSNorm):
        """Fetches its few numbers itself: ComfyUI's would lie in a buffer that is overwritten before backward reads it."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.rms_norm(x, self.normalized_shape, self.weight.to(x), self.eps)


def operations():
    """The layers to build a transformer of."""
    return Layers


def citizen(model: LuminaModel) -> ARModel:
    """Hand both parts to ComfyUI's memory management."""
    return ARModel(
        model,
        Patcher(model.transformer, memory.get_torch_device(), memory.unet_offload_device()),
        WholePatcher(model.image_tokenizer, memory.vae_device(), memory.vae_offload_device()),
    )


def make_resident(ar: ARModel, needed: int) -> None:
    """Load both parts, patched, with `needed` bytes beside them; other models make room."""
    with torch.inference_mode(False):
        memory.load_models_gpu([ar.transformer, ar.image_tokenizer], memory_required=needed)


def card_bytes() -> int | None:
    """What a graphics card offers to models; None on a CPU, which streams nothing."""
    device = memory.get_torch_device()
    return None if memory.is_device_cpu(device) else memory.get_total_memory(device) - memory.extra_reserved_memory()


def weights(ar: ARModel) -> int:
    """Bytes of both parts."""
    return weight_bytes(ar.model.transformer) + weight_bytes(ar.model.image_tokenizer)


def fits(ar: ARModel, needed: int) -> bool:
    """Whether both parts and `needed` bytes beside them are on the card at once: else layers would be streamed."""
    total = card_bytes()
    return total is None or weights(ar) + needed <= total


def affords(ar: ARModel, least: int, more: int) -> bool:
    """Whether to ask for `more` bytes where `least` would do: not if only that would have layers streamed."""
    return fits(ar, more) or not fits(ar, least)


def fitting_precisions(ar: ARModel, needed: int) -> str:
    """The precisions in which this model would stay on the card with `needed` bytes beside it; "" where there is none."""
    total = card_bytes()
    if ar.model.transformer.quantized or total is None:
        return ""
    free = total - needed - weight_bytes(ar.model.image_tokenizer)
    return " or ".join(scheme for scheme in SCHEMES if quantized_bytes(ar.model.transformer, scheme) <= free)


def streamed(ar: ARModel) -> bool:
    """Whether ComfyUI keeps some layers of the transformer off the card and copies them there whenever they run."""
    return getattr(ar.model.transformer, "model_lowvram", False)


def applied(ar: ARModel, personalization: Personalization, strength: float, name: str | None) -> ARModel:
    """`ar` knowing one subject more; every other branch of the graph keeps what it has."""
    if ar.model.transformer.quantized:  # nothing can be added to rounded weights: the change is computed beside them
        return ARModel(ar.model.personalized(personalization, strength, name), ar.transformer, ar.image_tokenizer)
    model = ar.model.knowing(personalization, strength, name)
    patcher = ar.transformer.clone()
    if personalization.adapter is not None and strength:
        patches = {f"{key}.weight": _patch(personalization.adapter, key) for key in personalization.adapter.names()}
        _check_patches(ar, personalization.adapter)
        patcher.add_patches(patches, strength)
    return ARModel(model, patcher, ar.image_tokenizer)


def _patch(adapter: Adapter, name: str):
    if isinstance(adapter, LowRankAdapter):  # stays low-rank in memory
        down, up = adapter.matrices(name)
        return LoRAAdapter(set(), (up, down, adapter.alpha, None, None, None))
    return ("diff", (adapter.change(name),))


def _check_patches(ar: ARModel, adapter: Adapter) -> None:
    """ComfyUI ignores keys it does not know and shapes that do not fit."""
    weights = ar.transformer.model_state_dict()
    for name in adapter.names():
        weight, shape = weights.get(f"{name}.weight"), adapter.shape(name)
        if weight is None or tuple(weight.shape) != shape:
            found = "is not there" if weight is None else f"has the shape {tuple(weight.shape)}"
            raise ValueError(f"The personalization changes {name} with the shape {shape}, which {found} in this model. Load its own model.")


def itemsize(ar: ARModel) -> int:
    return ar.model.transformer.image_head.weight.element_size()


# ---------------------------------------------------------------- progress and cancel


class Reporter:
    """Progress and Cancel of `ar_core`, shown on the running node.

    Interrupts that come with an update are remembered, not raised: the engine stops at its next step and saves first.
    Later versions of ComfyUI also raise them inside a layer's forward; the engine saves then too.
    """

    def __init__(self) -> None:
        self.bar, self.stopped = comfy.utils.ProgressBar(1), False
        self.preview: Image.Image | None = None
        self.clock = Clock()
        show_text("getting ready")  # the frontend draws a text over a preview that came before it

    def progress(self, done: int, total: int, message: str) -> None:
        if left := self.clock.left(done, total):
            show_text(f"{message}\n{done} of {total}, {left}")
        self._update(done, total)

    def show(self, image: Image.Image) -> None:
        """Show a picture on the node without moving the bar."""
        self.preview = image
        self._update(self.bar.current, self.bar.total)

    def _update(self, done: int, total: int) -> None:
        preview, self.preview = self.preview, None
        try:
            self.bar.update_absolute(done, total, preview and ("JPEG", preview.convert("RGB"), PREVIEW))
        except Interrupted:
            self.stopped = True

    def cancel(self) -> bool:
        self.stopped = self.stopped or memory.processing_interrupted()
        return self.stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turns the engine's Cancelled into ComfyUI's own interruption, and says on the node that it was stopped."""
        try:
            yield
        except Cancelled as stopped:
            show_text(str(stopped))
            memory.interrupt_current_processing(False)
            raise Interrupted from None
        except Interrupted:
            show_text("Stopped at your request; what was finished is kept.")
            raise


def explained(execute: Callable) -> Callable:
    """A node's `execute` whose errors also stand on the node: the message that pops up in the browser leaves them out."""

    @functools.wraps(execute)
    def wrapped(*arguments, **inputs):
        try:
            return execute(*arguments, **inputs)
        except Exception as error:
            show_text(str(error) or type(error).__name__)
            raise

    return wrapped


class Clock:
    """Time left, judged by the steps seen so far; at most twice a second."""

    FIRST = 3  # steps before a judgement

    def __init__(self) -> None:
        self.restart(0, 0)

    def restart(self, done: int, total: int) -> None:
        self.first, self.total, self.started, self.shown = done, total, time.monotonic(), 0.0

    def left(self, done: int, total: int) -> str:
        if total != self.total or done < self.first:
            self.restart(done, total)
        now, steps = time.monotonic(), done - self.first
        if steps < self.FIRST or now - self.shown < 0.5 and done < total:
            return ""
        self.shown = now
        each = (now - self.started) / steps
        return f"{duration(each * (total - done))} left of {duration(each * total)}"


def duration(seconds: float) -> str:
    """ "45 s", "3 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def show_text(text: str) -> None:
    """Show `text` on the running node."""
    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if context is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(text, context.node_id)
