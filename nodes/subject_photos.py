"""Subject Photos: 3-5 photos of one subject, from sockets, a folder or the built-in examples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io

from ..ar_core import read_photos
from ..ar_core.photos import SMALLEST, centre_crop, find_files, stack, tensor_photos
from .host.progress import explained, show_text
from .sockets import CATEGORY, SubjectPhotosValue, SubjectSocket

CONNECTED = "(connected images)"
EXAMPLE = "example: "
EXAMPLES = Path(__file__).parents[1] / "example_subjects"
SOCKETS = 5
SHOWN = 768  # pixels of the IMAGE output's sides


def input_folder() -> Path:
    return Path(folder_paths.get_input_directory())


def photo_folders() -> list[str]:
    """Subfolders of ComfyUI's input that hold a file."""
    base = input_folder()
    filled = {path.parent for path in base.glob("**/*") if path.is_file() and not path.name.startswith(".")} - {base}
    return sorted(folder.relative_to(base).as_posix() for folder in filled)


def examples() -> list[str]:
    return [EXAMPLE + folder.name for folder in sorted(EXAMPLES.iterdir()) if any(folder.glob("*.png"))]


class SubjectPhotos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        sockets = [
            io.Image.Input(
                f"photo_{i}",
                optional=True,
                tooltip="One photo, a batch or a list; any size. Connected photos replace the folder.",
            )
            for i in range(1, SOCKETS + 1)
        ]
        return io.Schema(
            node_id="LuminaMGPTSubjectPhotos",
            display_name="Subject Photos",
            category=CATEGORY,
            description="3 to 5 photos of one subject: different backgrounds, the subject large and whole.",
            is_input_list=True,  # core loaders hand out lists: all of them are one subject
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[CONNECTED, *examples(), *photo_folders()],
                    default=next(iter(examples()), CONNECTED),
                    tooltip="Where the photos are: the sockets on the left, a built-in example, or a subfolder of ComfyUI's input folder.",
                ),
                io.String.Input(
                    "class_name",
                    default="",
                    tooltip='One or two words for what the photos show, such as dog or coffee mug: "[V] dog" then means this one. Examples know theirs.',
                ),
                *sockets,
            ],
            outputs=[
                SubjectSocket.Output("subject", display_name="SUBJECT"),
                io.Image.Output(
                    "photos", display_name="IMAGE", tooltip="The photos as they are used, cropped to squares."
                ),
                io.String.Output("report", display_name="text", tooltip="One line about every file."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder=(), class_name=(), **photos):
        """The contents of the folder's files, whatever they are called."""
        try:
            files = find_files(folder_of(folder[0])) if folder and folder[0] not in (None, CONNECTED) else []
        except ValueError:
            return folder  # execute says what is wrong
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    @classmethod
    @explained
    def execute(cls, folder: list[str], class_name: list[str], **photos: list[torch.Tensor]) -> io.NodeOutput:
        chosen = folder[0]
        connected = [
            image for i in range(1, SOCKETS + 1) for image in photos.get(f"photo_{i}") or [] if image is not None
        ]
        if connected:
            found = tensor_photos(connected)
            report = [f"{photo.name}: {photo.image.width}x{photo.image.height}" for photo in found]
            report += [f"(the folder {chosen} is not used: photos are connected)"] if chosen != CONNECTED else []
        elif chosen == CONNECTED:
            raise ValueError("No photo is connected: connect images to photo_1 to photo_5, or choose a folder.")
        else:
            found, report = read_photos(folder_of(chosen))
        word = " ".join(class_name[0].split()) or (not connected and example_class(chosen)) or ""
        if not word:
            raise ValueError('class_name is empty: write the word for what the photos show, for example "dog".')
        report += [
            f"{photo.name} is only {photo.image.width}x{photo.image.height}"
            for photo in found
            if min(photo.image.size) < SMALLEST
        ]
        if len(found) > 20:
            report.append(f"{len(found)} pictures are many: 3 to 5 good ones of a single subject are enough.")
        text = "\n".join([f"{len(found)} photo(s) of one {word}", *report])
        show_text(text)
        shown = stack([centre_crop(photo.image, (SHOWN, SHOWN)) for photo in found])
        return io.NodeOutput(SubjectPhotosValue(tuple(found), word), shown, text)


def folder_of(choice: str) -> Path:
    """The folder behind an entry of the list. Raises ValueError for anything outside the two places it lists."""
    base, name = (EXAMPLES, choice.removeprefix(EXAMPLE)) if choice.startswith(EXAMPLE) else (input_folder(), choice)
    path = (base / name).resolve()
    if not path.is_relative_to(base.resolve()) or path == base.resolve() or not path.is_dir():
        raise ValueError(
            f'There is no photo folder "{choice}" in {base}. Press R to read the folders again and choose from the list.'
        )
    return path


def example_class(choice: str) -> str | None:
    """ "example: lilac_dog" shows a dog."""
    return choice.rsplit("_", 1)[-1] if choice.startswith(EXAMPLE) else None
