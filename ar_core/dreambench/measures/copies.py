"""The copy check: whether a picture repeats a photo rather than showing its subject anew."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .measure import Evidence, cosines_of_pairs


@dataclass(frozen=True)
class CopyCheck:
    """How near pictures come to photos.

    `nearest` (n,): cosine of each picture to the photo it is most like. `limit`: the closest that two real photos come.
    """

    nearest: Tensor
    limit: float

    @property
    def suspected(self) -> Tensor:
        """(n,) True where a picture is closer to a photo than any two photos are to each other."""
        return self.nearest > self.limit


def copy_check(generated: Tensor, photos: Tensor) -> CopyCheck:
    """`generated` (n, d), `photos` (m, d). With a single photo nothing is suspected."""
    limit = 1.0
    if len(photos) > 1:
        limit = float(cosines_of_pairs(photos).max())
    return CopyCheck((generated @ photos.T).max(1).values, limit)


def copies_by_vit(seen: Evidence) -> CopyCheck:
    """The check that every report has."""
    return copy_check(seen.pictures["vit"], seen.photos["vit"])
