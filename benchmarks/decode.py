"""Speed of decoding, against what upstream's inference does for every token, on the same weights in the same run.

    python -m benchmarks.decode [--quick] [--json FILE] [--plot FILE] [--threads N] [--size PIXELS] [--memory-cap GB] [--graphs]

Upstream's way (`Naive`): two unbatched forward passes per token (with and without the prompt), a cache that grows
by concatenation, logits over the full vocabulary, a mask down to the image codes, top-k, softmax, multinomial,
and forward passes for row ends too. Both use this project's layers, so the ratio holds nothing but the decoding.

The model has random weights: 101M parameters in its layers and Lumina's vocabulary. Timed are the steps from the
first code of an image to the N-th (N is printed), after a prompt of 40 tokens; reading the prompt counts in the time to
the first code alone. int8 and 4-bit are compared with upstream's way in bfloat16: rows of their own, since the
weights differ.

Jacobi decoding is timed on the same weights with a simulated rate of kept guesses, that of the published
measurements on the real model: random weights accept unrealistically well. How many steps it really saves is counted
on the miniature, at guidance 4, the value for the 7B.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ar_core import layers
from ar_core.control import Cancelled
from ar_core.families import LUMINA_512, frontier
from ar_core.model import LuminaModel
from ar_core.quantization import SCHEMES, quantize
from ar_core.sampling import SamplingSettings, jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.settings import WINDOWS
from ar_core.transformer import Transformer, TransformerConfig

from .plot import draw_ratios

CONFIG = TransformerConfig(
    hidden_size=1024, intermediate_size=2752, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8
)  # fmt: skip
PROMPT = [0, *range(16384, 16384 + 38), 8710]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Both ways compute the same numbers in another order: the largest difference allowed, in standard deviations of the logits.
AGREEMENT = {"fp32": 1e-3, "bf16": 0.25, "int8": 0.5, "4-bit": 2.0}
# Tokens per step that guesses of each window give on Lumina-mGPT at 768 px: 2.2 published for 16, 4.2 for 64 (coupled);
# the others are interpolated in log2(window). Simulated, not measured here.
SIMULATED = {4: 1.4, 8: 1.8, 16: 2.2, 32: 3.2, 64: 4.2}
MINIATURE_CFG = 4.0
MINIATURE_PROMPTS = (
    "a photo of a red striped mug on a wooden floor", "a photo of a blue dog on the beach", "a green car in the city",
    "a photo of a yellow dotted rabbit in the garden",
)  # fmt: skip


@dataclass
class Model:
    """Random weights in one dtype; `head` is the full output head, which only the baseline needs."""

    transformer: Transformer
    head: nn.Linear
    settings: SamplingSettings

    @classmethod
    def random(cls, device: torch.device, pixels: int, seed: int = 0) -> Model:
        torch.manual_seed(seed)
        transformer = Transformer(CONFIG, operations=layers, device=device).requires_grad_(False).eval()
        head = nn.Linear(CONFIG.hidden_size, CONFIG.vocab_size, bias=False, device=device).requires_grad_(False)
        head.weight[CONFIG.head_first : CONFIG.head_first + CONFIG.head_size] = transformer.image_head.weight
        family = replace(LUMINA_512, protocol=replace(LUMINA_512.protocol, sizes=frontier(pixels)))
        settings = SamplingSettings.resolve(family, size=(pixels, pixels), seed=seed)
        return cls(transformer, head, settings)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def to(self, dtype: torch.dtype, scheme: str | None = None) -> Model:
        """This model from now on in `dtype`; nothing of the former remains."""
        transformer = self.transformer.to(dtype)
        return replace(self, transformer=quantize(transformer, scheme) if scheme else transformer, head=self.head.to(dtype))

    def engine(self, window: int = 1, **options: bool) -> Engine:
        protocol, settings = LUMINA_512.protocol, self.settings
        return Engine(self.transformer, protocol, [PROMPT], settings.size, settings.cfg, spare=window, **options)

    @property
    def layer_weights(self) -> int:
        return sum(p.numel() for p in self.transformer.model.layers.parameters())

    @property
    def bytes_per_step(self) -> int:
        """What no exact decoder can avoid reading for one code: the layers and the image codes' head."""
        return sum(p.nbytes for p in (*self.transformer.model.layers.parameters(), self.transformer.image_head.weight))


class GrowingCache:
    """The cache of Hugging Face's default: one concatenation per layer, step, and of keys and values."""

    def __init__(self):
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        if layer in self.layers:
            old_keys, old_values = self.layers[layer]
            keys, values = torch.cat([old_keys, keys], 1), torch.cat([old_values, values], 1)
        self.layers[layer] = keys, values
        return keys, values


class Branch:
    """One unbatched sequence: tokens in, logits over the full vocabulary out."""

    def __init__(self, transformer: Transformer, head: nn.Linear):
        self.transformer, self.head, self.cache, self.length = transformer, head, GrowingCache(), 0

    def feed(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(self.length, self.length + len(tokens), device=tokens.device)[None]
        self.length += len(tokens)
        hidden = self.transformer(self.transformer.embed(tokens[None]), positions, self.cache, self.length)
        return self.head(hidden[0, -1:])[0].float()


class Naive:
    """Upstream's inference for one image, token by token."""

    def __init__(self, model: Model):
        self.settings, self.device, self.protocol = model.settings, model.device, LUMINA_512.protocol
        self.columns = self.protocol.grid(model.settings.size)[1]
        self.branches = Branch(model.transformer, model.head), Branch(model.transformer, model.head)
        header = self.protocol.header(model.settings.size)
        self.starts = PROMPT + header, header
        self.forbidden = torch.ones(CONFIG.vocab_size, dtype=torch.bool, device=self.device)
        self.forbidden[self.protocol.code_base : self.protocol.code_base + self.protocol.codes] = False

    def prefill(self) -> Tensor:
        return self.guided([torch.tensor(start, device=self.device) for start in self.starts])

    def advance(self, token: Tensor) -> Tensor:
        return self.guided([token, token])

    def guided(self, tokens: list[Tensor]) -> Tensor:
        conditional, unconditional = (branch.feed(new) for branch, new in zip(self.branches, tokens, strict=True))
        return self.settings.cfg * (conditional - unconditional) + unconditional

    def draw(self, logits: Tensor) -> Tensor:
        scores = logits.masked_fill(self.forbidden, float("-inf"))
        threshold = scores.topk(self.settings.top_k).values[-1]
        scores = scores.masked_fill(scores < threshold, float("-inf")) / self.settings.temperature
        return torch.multinomial(torch.softmax(scores, -1), 1)

    @torch.inference_mode()
    def decode(self, count: int, tick: Callable[[int], None]) -> None:
        """Draw `count` codes; `tick` hears of each."""
        row_end = torch.tensor([self.protocol.row_end], device=self.device)
        logits = self.prefill()
        for index in range(count):
            token = self.draw(logits)
            tick(index + 1)
            if index + 1 < count:
                logits = self.advance(token)
                if (index + 1) % self.columns == 0:
                    logits = self.advance(row_end)


@dataclass
class Clock:
    """Seconds per code, from the first code drawn to the last of `count`; `first`: seconds to the first code."""

    device: torch.device
    count: int
    began: float = field(default_factory=time.perf_counter)
    start: float = 0.0
    seconds: float = 0.0
    done: int = 0

    @property
    def first(self) -> float:
        return self.start - self.began

    def tick(self, done: int, *_) -> None:
        self.done = done
        if done in (1, self.count):
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if done == 1:
                self.start = time.perf_counter()
            else:
                self.seconds = (time.perf_counter() - self.start) / (self.count - 1)

    def finished(self) -> bool:
        return self.done >= self.count


def time_naive(model: Model, count: int) -> Clock:
    clock = Clock(model.device, count)
    Naive(model).decode(count, clock.tick)
    return clock


def time_ours(model: Model, count: int, **options: bool) -> Clock:
    clock = Clock(model.device, count)
    try:
        sequential.decode(model.engine(**options), model.settings, progress=clock.tick, cancel=clock.finished)
    except Cancelled:  # the image goes on, the measurement does not
        pass
    return clock


def time_jacobi(model: Model, window: int, count: int, **options: bool) -> float:
    """Seconds per code, with a simulated rate of kept guesses."""
    settings, ticks = replace(model.settings, window=window), []

    def tick(done: int, *_) -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        ticks.append((time.perf_counter(), done))

    try:
        jacobi.decode(
            model.engine(window, **options), settings, progress=tick, cancel=lambda: bool(ticks) and ticks[-1][1] >= ticks[0][1] + count,
            coupling=Simulated(SIMULATED[window]),
        )  # fmt: skip
    except Cancelled:
        pass
    (start, first), (end, last) = ticks[0], ticks[-1]
    return (end - start) / (last - first)


class Simulated:
    """The real coupling at its real cost; how many guesses are kept comes from a given rate instead."""

    def __init__(self, tokens_per_step: float):
        self.rate, self.owed = tokens_per_step, 0.0

    def __call__(self, p, q, guess, numbers, positions):
        corrected, _ = jacobi.speculative(p, q, guess, numbers, positions)
        self.owed += self.rate
        count = int(self.owed)
        self.owed -= count
        kept = torch.arange(guess.shape[1], device=guess.device) < count - 1
        return corrected, kept.expand_as(guess)


def count_steps(windows: tuple[int, ...]) -> dict[int, dict[str, float]]:
    """On the miniature: sequential steps and seconds of a picture as multiples of each window's."""
    model = LuminaModel.load("miniature", "cuda" if torch.cuda.is_available() else "cpu")
    settings = SamplingSettings.resolve(model.family, cfg=MINIATURE_CFG)
    model.generate(MINIATURE_PROMPTS[0], replace(settings, window=1))  # warm up
    found: dict[int, tuple[int, float]] = {}
    for window in windows:
        steps, start = 0, time.perf_counter()
        for seed, prompt in enumerate(MINIATURE_PROMPTS):
            steps += model.generate(prompt, replace(settings, window=window, seed=seed))[0].steps
        found[window] = steps, time.perf_counter() - start
    plain, seconds = found[1]
    return {
        window: {"steps_per_image": steps / len(MINIATURE_PROMPTS), "steps_ratio": plain / steps, "time_ratio": seconds / taken}
        for window, (steps, taken) in found.items()
    }


@torch.inference_mode()
def disagreement(model: Model, baseline: Model, steps: int = 4) -> float:
    """Largest difference of both ways' guided logits over the first steps, in standard deviations of the logits."""
    engine, naive = model.engine(), Naive(baseline)
    first, last = CONFIG.head_first, CONFIG.head_first + CONFIG.head_size
    ours, theirs, worst = engine.prefill()[0], naive.prefill()[first:last], 0.0
    for step in range(steps):
        worst = max(worst, float((ours - theirs).abs().max() / theirs.std()))
        token = torch.tensor([first + 1000 * step], device=model.device)
        ours, theirs = engine.advance(token[None])[0, -1], naive.advance(token)[first:last]
    return worst


def bandwidth(device: torch.device, repetitions: int = 7) -> float:
    """Bytes per second that this machine reads from memory: the best of a few large sums and matrix-vector products."""
    matrix = torch.ones(2**18 if device.type == "cuda" else 2**16, 2048, device=device)  # 2 GiB or 512 MiB, above any cache
    vector, best = torch.ones(matrix.shape[1], device=device), 0.0
    for read in (matrix.sum, lambda: matrix @ vector):
        for _ in range(repetitions):
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            read()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, matrix.nbytes / (time.perf_counter() - start))
    return best


def machine(device: torch.device) -> str:
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    card = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{card}{processor} ({cores}), {platform.platform()}, torch {torch.__version__}"


def peak_memory(device: torch.device) -> float | None:
    """GiB: on CUDA what torch held at most, else what this process took at most so far; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024) / 2**30


def measure(
    name: str, model: Model, baseline: Model, tokens: int, repetitions: int, read_speed: float, windows: tuple[int, ...]
) -> dict[str, object]:
    """Alternate all ways and take medians: a machine that slows down for a while slows all."""
    difference = disagreement(model, baseline)
    if not difference <= AGREEMENT[name]:
        raise RuntimeError(f"{name}: no fair comparison: logits differ by {difference:.2g} standard deviations.")
    time_naive(baseline, 3), time_ours(model, 3)  # warm up
    clocks, rounds = [], []
    for _ in range(repetitions):
        clocks.append((time_naive(baseline, tokens), time_ours(model, tokens)))
        rounds.append([*(clock.seconds for clock in clocks[-1]), *(time_jacobi(model, window, tokens) for window in windows)])
    naive, ours = (statistics.median(times) for times in list(zip(*rounds, strict=True))[:2])
    ratios = {window: statistics.median(r[1] / r[2 + i] for r in rounds) for i, window in enumerate(windows)}
    first = [statistics.median(clock.first for clock in way) for way in zip(*clocks, strict=True)]
    floor = model.bytes_per_step / read_speed
    result = {
        "sequential_over_naive": statistics.median(r[0] / r[1] for r in rounds),
        "jacobi_by_window": ratios,
        "best_exact_over_naive": statistics.median(r[0] / min(r[1:]) for r in rounds),
        "naive_tokens_per_s": 1 / naive,
        "sequential_tokens_per_s": 1 / ours,
        "naive_first_code_s": first[0],
        "first_code_s": first[1],
        "floor_ms": 1e3 * floor,
        "percent_of_floor": 100 * floor / ours,
        "peak_memory_gib": peak_memory(model.device),
        "logit_difference": difference,
    }
    if ratios:
        best = max(ratios, key=ratios.__getitem__)
        result |= {"jacobi_over_sequential": ratios[best], "jacobi_best_window": best}
    say(name, result)
    return result


def say(name: str, result: dict) -> None:
    print(
        f"{name}: {result['sequential_over_naive']:.2f}x; upstream's way {result['naive_tokens_per_s']:.1f} tokens/s, ours "
        f"{result['sequential_tokens_per_s']:.1f} tokens/s (floor {result['floor_ms']:.1f} ms per token, "
        f"{result['percent_of_floor']:.0f} % of it reached; logits agree to {result['logit_difference']:.1g} sd); first code after "
        f"{result['first_code_s']:.2f} s, upstream's way {result['naive_first_code_s']:.2f} s"
    )
    if result["peak_memory_gib"]:
        print(f"{name}: peak memory so far {result['peak_memory_gib']:.2f} GiB, both ways and the benchmark itself included")
    listed = ", ".join(f"window {w} {r:.2f}x (at {SIMULATED[w]} tokens per step, simulated)" for w, r in result["jacobi_by_window"].items())
    if listed:
        print(f"{name}: Jacobi over sequential: {listed}")
    print(f"{name}: best exact setting over upstream's way {result['best_exact_over_naive']:.2f}x", flush=True)


def all_precisions(model: Model, tokens: int, repetitions: int, read_speed: float, quick: bool) -> dict[str, dict]:
    """In this order, because a model turned into one type does not turn back; `quick` is without the slow 4-bit."""
    windows = (16, 64) if quick else tuple(SIMULATED)
    results = {}
    for name, dtype in DTYPES.items():
        baseline = model.to(dtype)
        results[name] = measure(name, baseline, baseline, tokens, repetitions, read_speed, windows)
    for scheme in ("int8",) if quick else SCHEMES:
        small = Model.random(model.device, model.settings.size[0]).to(dtype, scheme)
        results[scheme] = measure(scheme, small, baseline, tokens, repetitions, read_speed, () if quick else windows)
    return results


def limit_memory(device: torch.device, gigabytes: float) -> None:
    """Let torch have no more than this of the card, as if it were a smaller one."""
    if device.type != "cuda":
        raise SystemExit("--memory-cap needs CUDA: only there torch can be held to a part of the memory.")
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / torch.cuda.get_device_properties(device).total_memory), device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="16 tokens, 3 repetitions, two windows instead of 64, 9 and all; under 50 s on two cores"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this picture")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels (512)")
    parser.add_argument("--memory-cap", type=float, metavar="GB", help="CUDA: use no more memory than this")
    parser.add_argument("--graphs", action="store_true", help="CUDA: compare recorded and compiled with plain steps, and nothing else")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if chosen.memory_cap:
        limit_memory(device, chosen.memory_cap)
    if chosen.graphs:
        from .graphs import check

        return check(device, chosen.size)
    tokens, repetitions = (16, 3) if chosen.quick else (64, 9)
    model, read_speed = Model.random(device, chosen.size), bandwidth(device)
    print(machine(device))
    print(f"read bandwidth {read_speed / 1e9:.1f} GB/s; {model.layer_weights / 1e6:.0f}M layer parameters; ", end="")
    size, layer_weights = model.settings.describe()["size"], model.layer_weights
    print(f"first {tokens} codes of a {size} image after {len(PROMPT)} prompt tokens, guidance on, ", end="")
    print(f"median of {repetitions} alternating repetitions", flush=True)
    results = all_precisions(model, tokens, repetitions, read_speed, chosen.quick)
    steps = count_steps((1, 16) if chosen.quick else WINDOWS)
    for window, found in steps.items():
        print(
            f"miniature at guidance {MINIATURE_CFG:g}, window {window}: {found['steps_per_image']:.0f} steps per image, {found['steps_ratio']:.2f}x fewer, "
            f"{found['time_ratio']:.2f}x faster than sequential"
        )
    usual = results["fp32" if device.type == "cpu" else "bf16"]  # what `LuminaModel.load` takes on this device
    summary = {
        "sequential_over_naive": usual["sequential_over_naive"], "jacobi_over_sequential": usual["jacobi_over_sequential"],
        "steps_ratio_miniature": steps[16]["steps_ratio"], "miniature_by_window": steps, "machine": machine(device), "read_gb_per_s": read_speed / 1e9,
        "layer_parameters": layer_weights, "tokens": tokens, "size": size, "repetitions": repetitions, **results,
    }  # fmt: skip
    if chosen.json:
        chosen.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if chosen.plot:
        draw_ratios(summary).save(chosen.plot)


if __name__ == "__main__":
    main()
