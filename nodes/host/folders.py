"""Our folders below ComfyUI's `models`, its input folder, and the files in them."""

from __future__ import annotations

from pathlib import Path

import folder_paths

MODELS = "lumina_mgpt"
SUBJECTS = "lumina_mgpt_subjects"
SCORERS = "lumina_mgpt_scorers"
RUNS = "_runs"  # below SUBJECTS


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
    """Where trainings are remembered."""
    return subjects_folder() / RUNS


def input_folder() -> Path:
    """Where ComfyUI keeps users' own files."""
    return Path(folder_paths.get_input_directory())


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
