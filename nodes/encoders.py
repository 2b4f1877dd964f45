"""The encoders that score pictures, from ComfyUI's folders: for DreamBench Score, and to choose the best step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..ar_core.dreambench.encoders import MINIATURE_ENCODERS, PAPER_ENCODERS, EncoderChoice, EncoderError, Encoders
from .host.folders import SCORERS, model_folders, own_folder
from .sockets import check_choice

CHOICES = {choice.title: choice for choice in (PAPER_ENCODERS, MINIATURE_ENCODERS)}
FOLDERS = {
    PAPER_ENCODERS.vit: "dino-vits16",
    PAPER_ENCODERS.clip: "clip-vit-base-patch32",
}  # below models/lumina_mgpt_scorers


def load_chosen_encoders(title: str) -> Encoders:
    """The encoders, on the CPU: a few dozen pictures take seconds there, and the model keeps the card."""
    check_choice("encoders", title, CHOICES)
    choice = CHOICES[title]
    try:
        return Encoders.load(encoders_from_comfyui(choice))
    except EncoderError as error:
        if choice is not PAPER_ENCODERS:
            raise
        places = " and ".join(f"{name} into {own_folder(SCORERS) / folder}" for name, folder in FOLDERS.items())
        raise ValueError(f"{error} Put {places}.") from error


def default_encoders() -> str:
    """What a fresh node shows: the paper's encoders where the user has put both, else those that ship."""
    paper = encoders_from_comfyui(PAPER_ENCODERS)
    if isinstance(paper.vit, Path) and isinstance(paper.clip, Path):
        return PAPER_ENCODERS.title
    return MINIATURE_ENCODERS.title


def encoders_from_comfyui(choice: EncoderChoice) -> EncoderChoice:
    """`choice` read from ComfyUI's folders where they hold it, else by hub name."""
    return replace(choice, vit=_source(choice.vit), clip=_source(choice.clip))


def _source(name: Path | str) -> Path | str:
    if name in FOLDERS:
        for base in model_folders(SCORERS):
            folder = base / FOLDERS[name]
            if folder.is_dir():
                return folder
    return name
