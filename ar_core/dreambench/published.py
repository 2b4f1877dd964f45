"""What papers report on DreamBench. Printed beside our numbers and marked as published; never computed here.

Every row says where it comes from. Of Sun et al. 2025 (arXiv 2504.13162) only the scores of the method itself stand in
the text that we could read; those on Lumina-mGPT beside it are reported elsewhere for its long version, and unverified.
"""

from __future__ import annotations

from typing import NamedTuple

STATED = "stated in arXiv 2504.13162"
REPORTED = "reported for its long version, unverified"
DREAMBOOTH = "as arXiv 2208.12242 lists it"
BLIP_DIFFUSION = "as arXiv 2305.14720 lists it"


class Published(NamedTuple):
    """A row."""

    dino: float
    clip_i: float
    clip_t: float | None
    source: str

    @property
    def scores(self) -> tuple[float | None, ...]:
        """In the order of the measures."""
        return self[:3]


PUBLISHED = {
    "real images": Published(0.774, 0.885, None, DREAMBOOTH),
    "Textual Inversion, Stable Diffusion": Published(0.569, 0.780, 0.255, DREAMBOOTH),
    "Re-Imagen": Published(0.600, 0.740, 0.270, BLIP_DIFFUSION),
    "BLIP-Diffusion, zero-shot": Published(0.594, 0.779, 0.300, BLIP_DIFFUSION),
    "BLIP-Diffusion, fine-tuned": Published(0.670, 0.805, 0.302, BLIP_DIFFUSION),
    "DreamBooth, Stable Diffusion": Published(0.668, 0.803, 0.305, DREAMBOOTH),
    "DreamBooth, Imagen": Published(0.696, 0.812, 0.306, DREAMBOOTH),
    "DreamBooth (joint), Lumina-mGPT": Published(0.509, 0.675, 0.296, REPORTED),
    "two-stage, Lumina-mGPT": Published(0.671, 0.785, 0.314, STATED),
    "two-stage, Lumina-mGPT, LoRA": Published(0.657, 0.778, 0.312, REPORTED),
}
