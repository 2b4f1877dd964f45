"""Subject Photos: 3-5 photos of one subject, from sockets, a folder or the built-in examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from comfy_api.latest import io, ui

from ..ar_core import Photo
from ..ar_core.described_photos import read_described_photos
from ..ar_core.listing import files_below, named_inside
from ..ar_core.masks import FILES, SOURCES, crop_with_mask
from ..ar_core.photos import SMALLEST, centre_crop, find_files, stack, unstack
from ..ar_core.quoting import quoted
from ..ar_core.sheets import picture_grid
from ..ar_core.shipped import example_subjects
from ..ar_core.text import check_class_name
from ..ar_core.training.aspect import median_shape
from .connected import Connected, check_masks_have_photos, connected_photos
from .host.folders import described_files, input_folder
from .host.progress import PREVIEW, Reporter, explain_on_node, show_text
from .host.schema import advanced, node_schema
from .sockets import CATEGORY, SubjectPhotosValue, SubjectSocket

CONNECTED = "(connected images)"
EXAMPLE = "example: "
EXAMPLES = example_subjects()
FIRST_CHOICE = "cream_cat"  # what a new node shows
SOCKETS = 5
MANY = 20  # photos; more are rarely of one subject
SHOWN = 768  # pixels of the IMAGE output's sides


class SubjectPhotos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTSubjectPhotos",
            display_name="Subject Photos",
            category=CATEGORY,
            search_aliases=("load images", "photos", "training images", "dataset", "upload photos"),
            description="3 to 5 photos of one subject: different backgrounds, the subject large and complete.",
            is_input_list=True,  # core loaders hand out lists: all of them are one subject
            is_output_node=True,  # so that it runs alone, and the crops are seen before anything is trained on them
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[CONNECTED, *example_entries(), *photo_folders()],
                    default=EXAMPLE + FIRST_CHOICE,
                    tooltip="Where the photos come from: the inputs on the left, a built-in example, or a subfolder of "
                    "ComfyUI's input folder.",
                ),
                io.String.Input(
                    "class_name",
                    default="",
                    tooltip='One or two words for what the photos show, such as dog or coffee mug: "[V] dog" then '
                    "means this dog. Leave it empty for the examples.",
                ),
                *photo_inputs(),
                *mask_inputs(),
                advanced(
                    io.Boolean.Input,
                    "captions",
                    default=False,
                    optional=True,
                    tooltip="Read dog.txt beside dog.jpg in the folder: what else the photo shows, so that it is not "
                    "learned as a part of the subject.",
                ),
                advanced(
                    io.Boolean.Input,
                    "keep_aspect",
                    default=False,
                    optional=True,
                    tooltip="Learn from pictures of the photos' shape instead of the recipe's, where the model draws "
                    "several: of the photos' median one. Lumina-mGPT does.",
                ),
                advanced(
                    io.Combo.Input,
                    "masks",
                    options=list(SOURCES),
                    default=FILES,
                    optional=True,
                    tooltip="Where the masks of a folder's photos come from. "
                    + "; ".join(f"{name}: {meaning}" for name, meaning in SOURCES.items())
                    + ". Connected photos have those of mask_1 to mask_5.",
                ),
            ],
            outputs=[
                SubjectSocket.Output("subject", display_name="SUBJECT"),
                io.Image.Output("photos", display_name="IMAGE", tooltip="The photos, cropped."),
                io.String.Output("report", display_name="text", tooltip="One line about every file."),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, folder: Sequence[str | None] = (), class_name: Sequence[str] = (), **others: object
    ) -> Sequence[str | None]:
        """Changes when a file of the folder does. Trainings are found by the photos' pixels, whatever this says."""
        if not folder or folder[0] in (None, CONNECTED):
            return []
        try:
            files = find_files(chosen_photo_folder(str(folder[0])))
        except (ValueError, OSError):
            return folder  # execute says what is wrong
        return [described_files(files)]

    @classmethod
    @explain_on_node
    def execute(
        cls,
        folder: list[str],
        class_name: list[str],
        captions: Sequence[bool] = (False,),
        keep_aspect: Sequence[bool] = (False,),
        masks: Sequence[str] = (FILES,),
        **sockets: list[torch.Tensor],
    ) -> io.NodeOutput:
        choice = folder[0]
        images = connected("photo", sockets)
        found, report = chosen_photos(choice, images, connected("mask", sockets), masks[0], captions[0])
        word = " ".join(class_name[0].split())
        if not word and not images:
            word = example_class(choice)
        size = (SHOWN, SHOWN)
        if keep_aspect[0]:
            size = median_shape(found, SHOWN)
        shown = stack([centre_crop(photo.image, size) for photo in found])
        looked_at = shown
        if any(photo.mask is not None for photo in found):
            looked_at = stack([crop_with_mask(photo, size) for photo in found])
        if not word:
            Reporter().show(picture_grid([unstack(looked_at)], cell=PREVIEW // 2))  # the crops are seen all the same
            raise ValueError('class_name is empty: write the word for what the photos show, for example "dog".')
        word = check_class_name(word)
        report += photo_remarks(found)
        subject = SubjectPhotosValue(tuple(found), word, keep_aspect[0])
        text = "\n".join([str(subject), *report])
        show_text(text)
        return io.NodeOutput(subject, shown, text, ui=ui.PreviewImage(looked_at))


def photo_inputs() -> list[io.Input]:
    """The sockets for photos."""
    tooltip = "One photo, a batch or a list, in any size. Connected photos replace the folder."
    return [io.Image.Input(f"photo_{number}", optional=True, tooltip=tooltip) for number in range(1, SOCKETS + 1)]


def mask_inputs() -> list[io.Input]:
    """The sockets for masks of those photos."""
    return [
        io.Mask.Input(
            f"mask_{number}",
            optional=True,
            tooltip=f"White where the subject is in photo_{number}: one mask for each of its pictures, or one for all. "
            "What is outside counts little. Load Image's mask is white where a picture is transparent: invert it for "
            "a subject that was cut out.",
        )
        for number in range(1, SOCKETS + 1)
    ]


def photo_folders() -> list[str]:
    """Subfolders of ComfyUI's input that hold a file."""
    return sorted({name.rpartition("/")[0] for name in files_below(input_folder()) if "/" in name})


def example_entries() -> list[str]:
    """Entries for the subjects that ship."""
    return [EXAMPLE + folder.name for folder in sorted(EXAMPLES.iterdir()) if any(folder.glob("*.png"))]


def connected(kind: str, sockets: dict[str, list[torch.Tensor]]) -> Connected:
    """What the sockets of a kind bring, "photo" or "mask", by their number."""
    brought = {}
    for number in range(1, SOCKETS + 1):
        tensors = [tensor for tensor in sockets.get(f"{kind}_{number}") or [] if tensor is not None]
        if tensors:
            brought[number] = tensors
    return brought


def chosen_photos(
    choice: str, images: Connected, masks: Connected, masks_from: str, captions: bool
) -> tuple[list[Photo], list[str]]:
    """The photos, with a line about each: those of the sockets with their `masks`, or of the chosen folder.

    `masks_from` and `captions`: what of the files in the folder is used. Raises ValueError.
    """
    if not images and choice == CONNECTED:
        raise ValueError("No photo is connected: connect images to photo_1 to photo_5, or choose a folder.")
    check_masks_have_photos(images, masks)
    if not images:
        return read_described_photos(
            chosen_photo_folder(choice),
            masks_from,
            captions,
            unused_captions="The captions in the folder are not used: turn captions on for that.",
        )
    found, lines = connected_photos(images, masks)
    if choice != CONNECTED:
        lines.append(f"(the folder {choice} is not used: photos are connected)")
    return found, lines


def photo_remarks(photos: list[Photo]) -> list[str]:
    """What the user should know about these photos."""
    lines = []
    for photo in photos:
        if min(photo.size) < SMALLEST:
            lines.append(f"{photo.name} is only {photo.size[0]}x{photo.size[1]}")
    if len(photos) == 1:
        lines.append(
            "One photo is little: with 3 to 5 from different sides, what is the subject is learned, not the scene."
        )
    if len(photos) > MANY:
        lines.append(f"{len(photos)} photos are a lot: 3 to 5 good ones of a single subject are enough.")
    return lines


def chosen_photo_folder(choice: str) -> Path:
    """The folder behind an entry of the list. Raises ValueError for anything outside the two places it lists."""
    base = input_folder()
    if choice.startswith(EXAMPLE):
        base = EXAMPLES
    path = named_inside(base, choice.removeprefix(EXAMPLE))
    if path is None or not path.is_dir():
        raise ValueError(
            f"There is no photo folder {quoted(choice)} in {base}. Press R to read the folders again and choose from "
            "the list."
        )
    return path


def example_class(choice: str) -> str:
    """The class of an example: "example: lilac_dog" shows a dog; "" for any other folder."""
    if choice.startswith(EXAMPLE):
        return choice.rsplit("_", 1)[-1]
    return ""
