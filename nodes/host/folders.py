"""Our folders below ComfyUI's `models`, its input folder, and the files in them."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ...ar_core.training.remembered import adopt_runs

MODELS = "lumina_mgpt"
SUBJECTS = "lumina_mgpt_subjects"
SCORERS = "lumina_mgpt_scorers"
RUNS = "lumina_mgpt_runs"  # beside SUBJECTS and not registered: ComfyUI would list what is in it as models
EARLIER_RUNS = "_runs"  # where versions before 0.2 kept them, below SUBJECTS
HERE = "(files directly in the folder)"  # an entry for the models folder itself
MODEL_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".model")

log = logging.getLogger(__name__)


def register_folders() -> None:
    """Make our folders below `models` known, and there, so that users see where files go."""
    for name in (MODELS, SUBJECTS, SCORERS):
        folder = Path(folder_paths.models_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        folder_paths.add_model_folder_path(name, str(folder))


def model_folders(name: str) -> list[Path]:
    """The existing folders of one kind, where users may have configured several."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(name) if Path(folder).is_dir()]


def subjects_folder() -> Path:
    """Where personalizations are saved."""
    return Path(folder_paths.get_folder_paths(SUBJECTS)[0])


def runs_folder() -> Path:
    """Where trainings are remembered; those of earlier versions are moved there."""
    folder = subjects_folder().parent / RUNS
    adopt_runs(subjects_folder() / EARLIER_RUNS, folder)
    return folder


def input_folder() -> Path:
    """Where ComfyUI keeps users' own files."""
    return Path(folder_paths.get_input_directory())


def output_folder() -> Path:
    """Where ComfyUI saves pictures."""
    return Path(folder_paths.get_output_directory())


def model_entries() -> list[str]:
    """What could be a model below `models/lumina_mgpt`: complete or not, so that the loader can say what is missing."""
    found = set()
    for base in model_folders(MODELS):
        complete = {path.parent.relative_to(base) for path in base.glob("**/config.json")}
        found |= {_entry(folder) for folder in complete}
        begun = {path.relative_to(base).parts[0] for path in base.iterdir() if _holds_model_files(path)}
        found |= begun - {folder.parts[0] for folder in complete if folder.parts}
        if _is_model_itself(base):
            found.add(HERE)
    return sorted(found)


def _entry(folder: Path) -> str:
    return folder.as_posix() if folder.parts else HERE


def _holds_model_files(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and any(_is_model_file(file) for file in path.rglob("*"))


def _is_model_itself(base: Path) -> bool:
    """Whether model files lie in one of the models folders directly."""
    return any(_is_model_file(path) for path in base.iterdir())


def _is_model_file(path: Path) -> bool:
    return path.suffix in MODEL_FILES and path.is_file()


def model_path(entry: str) -> Path:
    """The folder behind an entry of the list. Raises ValueError for anything else."""
    if entry == HERE:
        return next(filter(_is_model_itself, model_folders(MODELS)), model_folders(MODELS)[0])
    return path_inside(entry, MODELS)


def path_inside(name: str, kind: str) -> Path:
    """The file or folder `name` below one of the folders of `kind`. Raises ValueError for anything elsewhere."""
    for base in model_folders(kind):
        path = (base / name).resolve()
        if path.is_relative_to(base.resolve()) and path.exists():
            return path
    raise ValueError(
        f'There is no "{name}" in {model_folders(kind)[0]}. Press R to read the folder again and choose from the list.'
    )


def files_fingerprint(path: Path) -> str:
    """Changes when a file below `path` does."""
    files = [path]
    if path.is_dir():
        files = sorted(path.rglob("*"))
    return repr([(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()])
