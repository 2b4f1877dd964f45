"""PNG files that say how their picture was made."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL.PngImagePlugin import PngInfo

from .files import write_image
from .model import ARModel, Generated
from .photos import unstack

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"  # IPTC: made by a trained model


def save_png(image: Generated, number: int, model: ARModel, path: Path, *, replace: bool = True) -> None:
    """Write image `number` of its batch to `path`, with its prompt and settings in text chunks. Raises OSError.

    `replace`: see `files.atomic_write`.
    """
    applied = [
        {"identifier": a.identifier.name, "class": a.identifier.class_name, "strength": a.strength}
        for a in model.applied
    ]
    settings = {
        **image.settings.describe(),
        "image": number,
        "model": model.family.name,
        "base_fingerprint": model.fingerprint,
        "personalizations": applied,
        "precision": model.transformer.precision,
        "torch": torch.__version__,
    }
    info = PngInfo()
    info.add_itxt("prompt", image.prompt)
    info.add_itxt("settings", json.dumps(settings))
    info.add_itxt("DigitalSourceType", SOURCE)
    write_image(path, unstack(image.images)[0], replace=replace, pnginfo=info)
