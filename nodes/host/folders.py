"""Our folders below ComfyUI's `models`, its input folder, and the files in them."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import folder_paths

from ...ar_core.files import UnwritableFile, ensure_folder
from ...ar_core.listing import files_below, named_inside
from ...ar_core.quoting import quoted
from ...ar_core.training.remembered import adopt_runs

MODELS = "lumina_mgpt"
JANUS = "Janus-Pro"  # as the pack that was there first calls it, so that its users need no second copy
SUBJECTS = "lumina_mgpt_subjects"
SCORERS = "lumina_mgpt_scorers"
RUNS = "lumina_mgpt_runs"  # beside SUBJECTS and not registered: ComfyUI would list what is in it as models
EARLIER_RUNS = "_runs"  # where versions before 0.2 kept them, below SUBJECTS
HERE = "(files directly in the folder)"  # an entry for the models folder itself
MODEL_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".model")

log = logging.getLogger(__name__)


def register_folders() -> None:
    """Make our folders below `models` known, and there, so that users see where files go.

    One that cannot be made does not matter before somebody needs it.
    """
    for name in (MODELS, JANUS, SUBJECTS, SCORERS):
        folder = own_folder(name)
        try:
            ensure_folder(folder)
        except UnwritableFile as error:
            log.warning("%s", error)
        folder_paths.add_model_folder_path(name, str(folder))


def own_folder(name: str) -> Path:
    """Our folder of one kind below ComfyUI's `models`."""
    return Path(folder_paths.models_dir) / name


def model_folders(name: str) -> list[Path]:
    """The existing folders of one kind, where users may have configured several."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(name) if Path(folder).is_dir()]


def subjects_folder() -> Path:
    """Where personalizations are saved: not in a folder of extra_model_paths.yaml, which may be a share for reading."""
    return own_folder(SUBJECTS)


def runs_folder() -> Path:
    """Where trainings are remembered, to work there; those of versions before 0.2, which lay elsewhere, are moved."""
    for subjects in model_folders(SUBJECTS):
        adopt_runs(subjects / EARLIER_RUNS, own_folder(RUNS))
    return own_folder(RUNS)


def input_folder() -> Path:
    """Where ComfyUI keeps users' own files."""
    return Path(folder_paths.get_input_directory())


def output_folder() -> Path:
    """Where ComfyUI saves pictures."""
    return Path(folder_paths.get_output_directory())


def model_entries(kind: str = MODELS) -> list[str]:
    """What could be a model in folders of `kind`: complete or not, so that the loader can say what is missing."""
    found = set()
    for base in model_folders(kind):
        files = [PurePosixPath(name) for name in files_below(base)]
        complete = {file.parent for file in files if file.name == "config.json"}
        begun = {file.parts[0] for file in files if len(file.parts) > 1 and file.suffix in MODEL_FILES}
        found |= {folder.as_posix() for folder in complete if folder.parts}
        found |= begun - {folder.parts[0] for folder in complete if folder.parts}
        if _is_model_itself(base):
            found.add(HERE)
    return sorted(found)


def _is_model_itself(base: Path) -> bool:
    """Whether model files lie in one of the models folders directly."""
    return any("/" not in name and name.endswith(MODEL_FILES) for name in files_below(base))


def model_path(entry: str, kind: str = MODELS) -> Path:
    """The folder behind an entry of the list. Raises ValueError for anything else."""
    if entry == HERE:
        return next(filter(_is_model_itself, model_folders(kind)), own_folder(kind))
    return path_inside(entry, kind)


def entries_of_family(kind: str, recognises: Callable[[Path], bool]) -> list[str]:
    """What could be a model of a family: all in its own folders of `kind`, and what it recognises among the others."""
    others = [entry for entry in model_entries() if any(map(recognises, _folders_of(entry)))]
    return [*model_entries(kind), *(f"{MODELS}/{entry}" for entry in others)]


def path_of_family(entry: str, kind: str) -> Path:
    """The folder behind an entry of `entries_of_family`. Raises ValueError for anything else."""
    outer, _, other = entry.partition("/")
    if outer == MODELS and entry not in model_entries(kind):
        return model_path(other)
    return model_path(entry, kind)


def _folders_of(entry: str) -> list[Path]:
    """The folder behind an entry, none where it has just gone."""
    try:
        return [model_path(entry)]
    except ValueError:
        return []


def path_inside(name: str, kind: str) -> Path:
    """The file or folder `name` below one of the folders of `kind`. Raises ValueError for anything elsewhere."""
    for base in model_folders(kind):
        path = named_inside(base, name)
        if path is not None:
            return path
    raise ValueError(
        f"There is no {quoted(name)} in {own_folder(kind)}. Press R to read the folder again and choose from the list."
    )


def files_fingerprint(path: Path) -> str:
    """Changes when a file below `path` does. Raises OSError for a folder that cannot be listed."""
    files = [path]
    if path.is_dir():
        files = sorted(path.rglob("*"))
    return described_files(files)


def described_files(files: Iterable[Path]) -> str:
    """Names, times of change and sizes: ComfyUI asks at every queue, so no file is read.

    Folders are passed over; of a link to nothing, and of what may not be looked at, only the name counts.
    """
    found: list[tuple[str, int, int]] = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            found.append((file.name, 0, 0))
            continue
        if not stat.S_ISDIR(state.st_mode):
            found.append((file.name, state.st_mtime_ns, state.st_size))
    return repr(found)
