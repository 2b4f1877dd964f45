"""Against what a user would write today with transformers and peft, on the same weights in the same run.

    python -m benchmarks.peers [--quick] [--threads N] [--json FILE] [--table FILE]

Decoding: a loop over transformers' Chameleon with both rows of guidance in one batch, once over a growing cache
(DynamicCache) and once over one of fixed size (StaticCache), against `decode_sequentially`. Training: a plain loop with
peft's LoRA of rank 64 on q, k and v and one pair of 512 px, against the same step through our transformer, adapter and
loss. All take turns, and the medians of the turns are compared; before that, both must give the same numbers (logits,
loss).

Random weights, 101M parameters in the layers and Lumina's vocabulary. transformers computes the logits of the whole
vocabulary, as its class does; ours has the image codes' alone. The peers are in `common/peers.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ar_core.files import write_json, write_text

from .common.machine import default_device, machine
from .common.peers import MissingPackage, Peers
from .common.timing import seconds_in_turns

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
AGREEMENT = {"fp32": 1e-3, "bf16": 0.25}  # largest difference of logits, in their standard deviations
LOSS = {"fp32": 1e-3, "bf16": 0.05}  # largest difference of losses


def compare(peers: Peers, name: str, codes: int, repetitions: int) -> dict[str, Any]:
    """Ratios for one dtype. Raises RuntimeError where both do not compute the same."""
    logits = peers.disagreement_of_logits()
    loss = peers.disagreement_of_loss()
    if logits > AGREEMENT[name] or loss > LOSS[name]:
        raise RuntimeError(
            f"{name}: no fair comparison: logits differ by {logits:.2g} deviations, losses by {loss:.2g}."
        )
    decoding = seconds_in_turns(
        {
            "ours": lambda: peers.ours(codes),
            "growing": lambda: peers.theirs(codes, static=False),
            "static": lambda: peers.theirs(codes, static=True),
        },
        repetitions,
    )
    training = seconds_in_turns({"ours": peers.our_step, "peft": peers.peft_step}, max(2, repetitions // 2))
    best = min(decoding["growing"], decoding["static"])
    return {
        "logits_differ_by": logits,
        "losses_differ_by": loss,
        "over_growing_cache": decoding["growing"] / decoding["ours"],
        "over_static_cache": decoding["static"] / decoding["ours"],
        "over_the_better": best / decoding["ours"],
        "training_step": training["peft"] / training["ours"],
        "ms_per_code": decoding["ours"] * 1e3,
        "seconds_per_training_step": training["ours"],
    }


def as_markdown(results: dict[str, dict[str, Any]]) -> str:
    """The table of performance.md."""
    rows = {
        "decoding, over transformers with a growing cache": "over_growing_cache",
        "decoding, over transformers with a static cache": "over_static_cache",
        "a training step (LoRA 64, one 512 px pair), over transformers + peft": "training_step",
    }
    lines = ["| | " + " | ".join(results) + " |", "|---" * (1 + len(results)) + "|"]
    for title, key in rows.items():
        lines.append(f"| {title} | " + " | ".join(f"{result[key]:.2f}x" for result in results.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer codes and turns")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = default_device()
    codes, repetitions = 64, 7
    if options.quick:
        codes, repetitions = 16, 3
    print(machine(device), flush=True)
    results = {}
    for name, dtype in DTYPES.items():
        try:
            peers = Peers.random(device, dtype)
        except MissingPackage as error:
            raise SystemExit(str(error)) from error
        results[name] = compare(peers, name, codes, repetitions)
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in results[name].items()), flush=True)
    print(as_markdown(results))
    if options.table:
        write_text(options.table, as_markdown(results) + "\n")
    if options.json:
        write_json(options.json, {"machine": machine(device), "codes": codes, "results": results})


if __name__ == "__main__":
    main()
