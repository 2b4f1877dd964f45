"""What the paper says of its variants, held against what the miniature shows."""

from __future__ import annotations

from dataclasses import dataclass

from ar_core.dreambench.comparisons import Comparison, Finding, Scored


@dataclass(frozen=True)
class Claim:
    """What the paper says of two variants, as the sign of their difference in one measure.

    `measure`: 0 is the ViT's (DINO), 1 CLIP's of pictures, 2 CLIP's of prompts.
    """

    text: str
    more: str
    less: str
    measure: int


CLAIMS = (
    Claim(
        "two stages show the subject more faithfully than joint training (DINO .671 against .509)",
        "two_stage",
        "joint",
        0,
    ),
    Claim(
        "two stages follow the prompt better than joint training (CLIP-T .314 against .296)", "two_stage", "joint", 2
    ),
    Claim(
        "the same, joint training having as many steps as both stages together: subject", "two_stage", "joint_long", 0
    ),
    Claim(
        "the same, joint training having as many steps as both stages together: prompt", "two_stage", "joint_long", 2
    ),
    Claim("the layers add likeness to the embedding alone (DINO .671 against .601)", "two_stage", "embedding_only", 0),
    Claim(
        "the embedding alone follows the prompt a little better (CLIP-T .320 against .314)",
        "embedding_only",
        "two_stage",
        2,
    ),
    Claim(
        "the full q, k and v show the subject a little more faithfully than LoRA (DINO .671 against .657)",
        "two_stage_full",
        "two_stage",
        0,
    ),
    Claim(
        "after joint training the embedding alone says less on the original transformer than stage 1's does",
        "embedding_only",
        "joint_reverted",
        0,
    ),
)


PRIMARY = CLAIMS[0]  # what the page is about, named before anything was scored


def answerable_claims(scored: Scored) -> list[Claim]:
    """Those whose two variants were run."""
    return [claim for claim in CLAIMS if claim.more in scored and claim.less in scored]


def comparison_of(scored: Scored, claim: Claim) -> Comparison:
    """The difference that the claim is about, in the measure of the scorers that were used."""
    return Comparison(claim.more, claim.less, scored[claim.more][0].measures[claim.measure])


def claimed_comparisons(scored: Scored) -> list[Comparison]:
    """Those of all claims whose variants were run."""
    return [comparison_of(scored, claim) for claim in answerable_claims(scored)]


def verdict_on_claim(finding: Finding) -> str:
    """Whether the difference is on the claim's side of zero, beyond chance."""
    if not finding.separable:
        return "not separable"
    if finding.difference.mean > 0:
        return "**agrees**"
    return "**disagrees**"
