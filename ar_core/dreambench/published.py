"""What papers report on DreamBench. Printed beside our numbers and marked as published; never computed here.

Sources: Sun et al. 2025 (arXiv 2504.13162) for its own rows and those on Lumina-mGPT; the neighbours as that paper and
DreamBooth (Ruiz et al. 2023, arXiv 2208.12242), BLIP-Diffusion (Li et al. 2023, arXiv 2305.14720) list them.
"""

from __future__ import annotations

PUBLISHED = {  # DINO, CLIP-I, CLIP-T
    "real images": (0.774, 0.885, None),
    "Textual Inversion, Stable Diffusion": (0.569, 0.780, 0.255),
    "Re-Imagen": (0.600, 0.740, 0.270),
    "BLIP-Diffusion, zero-shot": (0.594, 0.779, 0.300),
    "BLIP-Diffusion, fine-tuned": (0.670, 0.805, 0.302),
    "DreamBooth, Stable Diffusion": (0.668, 0.803, 0.305),
    "DreamBooth, Imagen": (0.696, 0.812, 0.306),
    "DreamBooth (joint), Lumina-mGPT": (0.509, 0.675, 0.296),
    "two-stage, Lumina-mGPT, full q/k/v": (0.671, 0.785, 0.314),
    "two-stage, Lumina-mGPT, LoRA": (0.657, 0.778, 0.312),
}
