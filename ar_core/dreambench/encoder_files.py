"""Where an encoder's files lie and what they hold: a user's folder, or a snapshot in the hub's local cache.

Nothing is downloaded. Weights are read from model.safetensors where there is one, else from pytorch_model.bin, which is
all that some published encoders have; of a pickle only plain tensors are ever unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants  # transformers brings it
from torch import Tensor

from ..checkpoints.errors import CheckpointError
from ..checkpoints.reader import stored_tensors
from ..files import UnreadableFile, read_json

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which they are looked for
NEEDED = f"{CONFIG} and {' or '.join(WEIGHTS)}"
SNAPSHOTS = "snapshots"  # of the hub's cache: models--<owner>--<name>/snapshots/<commit>/, the commit in refs/main
REPOSITORY = "models--"


class EncoderError(ValueError):
    """Encoders that cannot be loaded; the message names files and folder, or the version that is needed."""


@dataclass(frozen=True)
class EncoderFiles:
    """A folder with an encoder; `commit` is "" where it is not the hub's."""

    folder: Path
    name: str
    commit: str = ""

    @classmethod
    def find(cls, source: Path | str) -> EncoderFiles:
        """Of a folder, or of a name in the hub's local cache. Raises EncoderError."""
        folder = Path(source)
        if not folder.is_dir():
            folder = Path(constants.HF_HUB_CACHE) / f"{REPOSITORY}{str(source).replace('/', '--')}"
        if (folder / SNAPSHOTS).is_dir():
            folder = _newest_snapshot(folder)
        if not folder.is_dir():
            raise EncoderError(
                f"The encoder {source} is not in the hub's local cache, and there is no folder {source}. Give a folder "
                f"with {NEEDED}."
            )
        repository = folder.parent.parent.name
        if folder.parent.name == SNAPSHOTS and repository.startswith(REPOSITORY):
            return cls(folder, repository.removeprefix(REPOSITORY).replace("--", "/"), folder.name)
        return cls(folder, folder.name or folder.resolve().name)

    def config(self) -> dict[str, Any]:
        """What config.json says. Raises EncoderError."""
        path = self.folder / CONFIG
        if not path.is_file():
            raise EncoderError(f"The folder {self.folder} has no {CONFIG}. An encoder needs {NEEDED}.")
        try:
            found = read_json(path)
        except UnreadableFile as error:
            raise EncoderError(f"{error} Copy {CONFIG} again.") from error
        if not isinstance(found, dict):
            raise EncoderError(f"{path} does not describe a model. Copy {CONFIG} again.")
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The weights by their names in the file, as copies: whoever changes the file changes no model.

        Raises EncoderError.
        """
        for name in WEIGHTS:
            if (self.folder / name).is_file():
                try:
                    return {stored.key: stored.read().clone() for stored in stored_tensors([self.folder / name])}
                except CheckpointError as error:
                    raise EncoderError(str(error)) from error
        raise EncoderError(f"The folder {self.folder} has no weights. An encoder needs {NEEDED}.")

    def label(self, weights: str) -> str:
        """Name, commit where known, and the beginning of `weights`, the hash of what was loaded."""
        digest = f"weights {weights[:12]}"
        if self.commit:
            return f"{self.name}@{self.commit[:20]} {digest}"
        return f"{self.name}@{digest}"


def _newest_snapshot(repository: Path) -> Path:
    """The snapshot that the cache calls main. Raises EncoderError."""
    try:
        commit = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderError(
            f"{repository} does not say which snapshot is the newest (refs/main). Give the folder below "
            f"{repository / SNAPSHOTS} that holds {NEEDED}."
        ) from error
    return repository / SNAPSHOTS / commit
