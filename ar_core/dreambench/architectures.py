"""What an encoder must be to give numbers by its name, and the loading that makes sure of it.

DINO's numbers from another network, or from one whose weights are random because a file lacks them, would look like any
others. So the type and the sizes in config.json are compared, and every weight must come from the file.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version  # transformers brings it
from torch import Tensor

from ..quoting import quoted
from .encoder_files import CONFIG, EncoderError, EncoderFiles

OLDEST_TRANSFORMERS = "4.37.2"  # the oldest that ComfyUI 0.3.64 allows; with it the scorers give the same vectors
DTYPES = ("dtype", "torch_dtype")  # config.json's names for what the weights were saved in; here they become float32


@dataclass(frozen=True)
class Architecture:
    """What config.json must say.

    `model_type` and `module`: transformers' names for the architecture and its class. `sizes`: the values that an entry
    may have, such as {"vision_config.patch_size": (32,)}; without any, every value is right. `example`: a name on the
    hub. `options`: of the class.
    """

    model_type: str
    module: str
    example: str
    sizes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    options: Mapping[str, bool] = field(default_factory=dict)

    def check_type(self, folder: Path, written: Mapping[str, Any]) -> None:
        """Raises EncoderError where config.json describes another kind of model."""
        found = written.get("model_type")
        if found != self.model_type:
            raise EncoderError(
                f"The folder {folder} holds a model of the type {quoted(found)}, and {quoted(self.model_type)} is "
                f"needed here: give {self.example} or the like."
            )

    def check_sizes(self, folder: Path, config: Any) -> None:
        """`config`: transformers' own. Raises EncoderError where it is of another size."""
        for name, allowed in self.sizes.items():
            found = entry(config, name)
            if found not in allowed:
                listed = ", ".join(f"{key} {' or '.join(map(str, sizes))}" for key, sizes in self.sizes.items())
                raise EncoderError(
                    f"The folder {folder} holds a model with {name} {quoted(found)}, and {self.example} is needed here "
                    f"({listed})."
                )


def entry(config: Any, name: str) -> Any:
    """An entry of a configuration, such as "vision_config.patch_size"; None where there is none."""
    for part in name.split("."):
        config = getattr(config, part, None)
    return config


# What decides an encoder's numbers beside its weights, of a ViT and of both halves of a CLIP.
OF_LAYERS = ("num_attention_heads", "hidden_act", "layer_norm_eps")
HALVES = ("", "vision_config.", "text_config.")


def computing_settings(config: Any) -> dict[str, Any]:
    """The entries of a configuration that no weight shows and that change every vector."""
    names = [f"{half}{name}" for half in HALVES for name in OF_LAYERS] + ["text_config.eos_token_id"]
    found = {name: entry(config, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


VIT = Architecture("vit", "ViTModel", "facebook/dino-vits16", options={"add_pooling_layer": False})
CLIP = Architecture("clip", "CLIPModel", "openai/clip-vit-base-patch32")


def supported_transformers() -> Any:
    """The module transformers. Raises EncoderError where it is too old."""
    transformers: Any = importlib.import_module("transformers")  # takes seconds to import
    found = transformers.__version__
    if Version(found) < Version(OLDEST_TRANSFORMERS):
        raise EncoderError(
            f"Scoring needs transformers {OLDEST_TRANSFORMERS} or later and found {found}: install it with "
            f'"{sys.executable}" -m pip install "transformers>={OLDEST_TRANSFORMERS}", then start again.'
        )
    return transformers


@contextmanager
def float32_by_default() -> Iterator[None]:
    """While this lasts, torch's default is float32: transformers computes masks in it, whatever its weights are in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@float32_by_default()
def load_model(files: EncoderFiles, architecture: Architecture) -> Any:
    """The model, every weight of it from the files, in float32 on the CPU. Raises EncoderError.

    transformers gets the tensors rather than the file: it reads no pickle with a torch before 2.6.
    """
    kind = getattr(supported_transformers(), architecture.module)
    written = {name: value for name, value in files.config().items() if name not in DTYPES}
    architecture.check_type(files.folder, written)
    try:
        config = kind.config_class.from_dict(written)
    except Exception as error:  # whatever transformers runs into among the values
        raise EncoderError(
            f"{files.folder / CONFIG} describes no {architecture.module} ({first_line(error)}). Copy {CONFIG} again."
        ) from error
    architecture.check_sizes(files.folder, config)
    tensors = bare_names(files.tensors(), (f"{kind.base_model_prefix}.", "dino."))
    try:
        with quiet_transformers():
            model, told = kind.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below
                **architecture.options,
            )
    except Exception as error:  # as above
        raise EncoderError(
            f"The encoder in the folder {files.folder} cannot be built ({first_line(error)}). Copy its files again "
            "from one place."
        ) from error
    check_complete(files.folder, told)
    return model.to(torch.float32).requires_grad_(False).eval()


def check_complete(folder: Path, told: Mapping[str, Any]) -> None:
    """Raises EncoderError where some weights would be random. `told`: what transformers says of a loading."""
    lacking = sorted(map(str, told["missing_keys"]))
    wrong = sorted(entry if isinstance(entry, str) else str(entry[0]) for entry in told["mismatched_keys"])
    if lacking or wrong:
        raise EncoderError(
            f"The weights in the folder {folder} are not those of its {CONFIG}: {len(lacking)} are missing and "
            f"{len(wrong)} have another shape, such as {(lacking + wrong)[0]}. Copy all files again from one place."
        )


def bare_names(tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors under the names that the model itself has.

    A larger model's file has the encoder below a prefix, with other parts beside it. Old files hold tables of places
    (position_ids), which are no weights, and a pooler, which is not used.
    """
    for prefix in prefixes:
        below = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        tensors = below or tensors
    return {
        name: value
        for name, value in tensors.items()
        if not name.endswith("position_ids") and not name.startswith("pooler.")
    }


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its reports of weights that a model does not use."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def first_line(error: Exception) -> str:
    """What an error of a library says, or its name where it says nothing."""
    return [*str(error).strip().splitlines(), type(error).__name__][0][:200]
