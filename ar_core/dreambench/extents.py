"""How much of DreamBench is run: named, so that two who write "reduced" mean the same subjects and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .dataset import BenchPrompt, DataSet
from .suites import DREAMBENCH, Suite


@dataclass(frozen=True)
class Extent:
    """Which subjects and prompts, None where all; and how many pictures of each prompt."""

    meaning: str
    images_per_prompt: int = 1
    subjects: tuple[str, ...] | None = None
    prompts: tuple[int, ...] | None = None  # by their places in either list, from 0

    def check(self, suite: Suite) -> None:
        """Raise ValueError for another data set than the one whose subjects and prompts it names."""
        if self.subjects is not None and suite.title != DREAMBENCH:
            raise ValueError(
                f"--extent names subjects and prompts of DreamBench, and this is {suite.title}. Leave it out, or "
                "choose subjects with --subjects."
            )

    def prompts_of(self, data: DataSet) -> DataSet:
        """`data` with these prompts alone. Raises ValueError where there are fewer."""
        if self.prompts is None:
            return data
        if max(self.prompts) >= min(len(data.object_prompts), len(data.live_prompts)):
            raise ValueError(f"--extent needs DreamBench's 25 prompts of each kind, and {data.folder} has fewer.")
        return replace(
            data, object_prompts=self._chosen(data.object_prompts), live_prompts=self._chosen(data.live_prompts)
        )

    def _chosen(self, prompts: Sequence[BenchPrompt]) -> tuple[BenchPrompt, ...]:
        return tuple(prompts[place] for place in self.prompts or ())


FULL = "full"
EXTENTS = {
    FULL: Extent("every subject and prompt, one picture each: 750, as many as are reported for the paper"),
    "dreambooth": Extent("the same with four pictures of each prompt, as in Ruiz et al. 2023", images_per_prompt=4),
    "reduced": Extent(
        "ten subjects, three of them alive, and ten prompts each with the same shares of places, clothes and changes "
        "as all: a third of the trainings, two fifteenths of the pictures, wider intervals",
        subjects=(
            "backpack",
            "bear_plushie",
            "candle",
            "cat",
            "colorful_sneaker",
            "dog",
            "dog2",
            "duck_toy",
            "rc_car",
            "teapot",
        ),
        prompts=(0, 2, 6, 9, 11, 13, 16, 18, 20, 24),
    ),
}
