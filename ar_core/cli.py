"""The command line: `python -m ar_core {personalize, sample, score, dreambench, info, demo, forget}`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from tqdm import tqdm

from .control import Cancelled, Progress
from .dreambench.command import dreambench_options, run_dreambench, run_score, score_options
from .families import FAMILIES, MINIATURE, PAPER_RECIPE, PAPER_SOURCES, Recipe
from .memory import picture_bytes, weight_bytes
from .model import PRECISIONS, LuminaModel
from .personalization import Personalization
from .photos import read_photos
from .pngs import save_png
from .sampling import SamplingSettings
from .training import STRATEGIES, TrainingSettings, personalize, prepare_subject
from .training.loop import mean_of_last
from .training.runs import forget
from .training.settings import INITIALISATIONS, METHODS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a user can mend comes back as one sentence and exit code 1."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            error = "The device ran out of memory. Choose a smaller --size or --n, or --device cpu."
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Cancelled as stopped:
        print(stopped, file=sys.stderr)
        return 130
    return 0


class Interruption:
    """A Cancel that follows Ctrl-C: the first lets the step end and saves, the second stops at once."""

    def __init__(self):
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame) -> None:
        self.asked = True
        print("\nStopping after this step (Ctrl-C again: at once)", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self) -> bool:
        return self.asked


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m ar_core", description="Personalize the auto-regressive image model Lumina-mGPT.")
    commands = root.add_subparsers(required=True, metavar="command")

    learn = commands.add_parser("personalize", help="learn one subject from 3-5 photos")
    _model_options(learn)
    learn.add_argument("--photos", type=Path, required=True, help="folder with photos of one subject")
    learn.add_argument("--class-name", required=True, help='the word for what they show, e.g. "dog"')
    learn.add_argument("--identifier", default="[V]", help="name of the subject in prompts (default [V])")
    learn.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    learn.add_argument("--strategy", choices=STRATEGIES, default="two_stage", help="; ".join(f"{k}: {v}" for k, v in STRATEGIES.items()))
    learn.add_argument("--method", choices=METHODS, default="lora", help="how layers change: low-rank, or full q/k/v as in the paper")
    learn.add_argument("--recipe", choices=("auto", "paper"), default="auto", help="paper: the paper's values instead of the family's")
    learn.add_argument("--runs", type=Path, help="where trainings are remembered (default: _runs beside --out)")
    learn.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default: the recipe's)")
    learn.add_argument("--seed", type=int, default=0)
    for name, kind in TRAINING_OPTIONS.items():
        learn.add_argument(f"--{name.replace('_', '-')}", type=kind, help="default: the recipe's")
    learn.add_argument("--initialisation", choices=INITIALISATIONS)
    for name in SWITCHES:
        learn.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, default=None)
    learn.set_defaults(run=run_personalize)

    sample = commands.add_parser("sample", help="generate images")
    _model_options(sample)
    sample.add_argument("--personalization", type=Path, action="append", default=[], help="a .safetensors file; may be repeated")
    sample.add_argument("--identifier", action="append", default=[], help="name for each --personalization, in the same order")
    sample.add_argument("--strength", type=float, action="append", default=[], help="strength of each (default 1; 0 is the base)")
    sample.add_argument("--prompt", action="append", required=True, help='e.g. "a photo of [V] dog on the beach"; may be repeated')
    sample.add_argument("--n", type=int, default=1, help="images per prompt")
    sample.add_argument("--cfg", type=float)
    sample.add_argument("--top-k", type=int)
    sample.add_argument("--temperature", type=float)
    sample.add_argument("--size", type=_size, help="WIDTHxHEIGHT, snapped to the nearest allowed")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--out", type=Path, default=Path("output"))
    sample.add_argument(
        "--cuda-graphs", action="store_true", help="replay recorded steps on an NVIDIA card (experimental: not yet measured)"
    )
    sample.add_argument(
        "--compile", action="store_true",
        help="run steps through torch.compile: a minute at first (for graphics cards, not yet measured; slower on a CPU)",
    )  # fmt: skip
    sample.set_defaults(run=run_sample)

    info = commands.add_parser("info", help="what a model or a personalization is; --recipe paper lists the paper's values")
    info.add_argument("file", type=Path, nargs="?", help="a personalization file")
    _model_options(info)
    info.add_argument("--recipe", choices=("auto", "paper"), help="print every value of a recipe")
    info.set_defaults(run=run_info)

    demo = commands.add_parser("demo", help="the whole job on the miniature; leaves pictures")
    demo.add_argument("--out", type=Path, default=Path("demo"))
    demo.add_argument("--photos", type=Path, help="default: a drawn dog")
    demo.add_argument("--class-name", default="dog")
    demo.set_defaults(run=run_demo)

    score = commands.add_parser("score", help="score pictures as DreamBench does: DINO, CLIP-I, CLIP-T")
    score_options(score)
    score.set_defaults(run=run_score)

    bench = commands.add_parser("dreambench", help="train, sample and score every DreamBench subject; stops and goes on")
    _model_options(bench)
    dreambench_options(bench)
    bench.set_defaults(run=lambda options: run_dreambench(options, _load(options), Bar(), Interruption()))

    clean = commands.add_parser("forget", help="delete the remembered trainings below a _runs folder")
    clean.add_argument("runs", type=Path)
    clean.set_defaults(run=run_forget)
    return root


TRAINING_OPTIONS = {
    "embedding_steps": int, "layer_steps": int, "embedding_learning_rate": float, "layer_learning_rate": float,
    "rank": int, "vectors": int, "batch_size": int, "micro_batch": int, "prior_weight": float, "prior_images": int,
}  # fmt: skip
SWITCHES = ("per_image_token", "prior_preservation", "gradient_checkpointing")


def _model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=MINIATURE.name, help="a model folder (default: the miniature that ships)")
    command.add_argument("--family", choices=FAMILIES, help="default: read from the folder")
    command.add_argument("--vq", type=Path, help="the image tokenizer's file, if it lies elsewhere")
    command.add_argument("--tokenizer", type=Path, help="the text tokenizer's file, if it lies elsewhere")
    command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    command.add_argument(
        "--precision", choices=PRECISIONS, default="auto",
        help="auto: bf16, for a small model on a CPU fp32; int8, 4-bit: the layers' weights in fewer bits, half or a third of the "
        "memory of bf16, LoRA only; 4-bit needs bitsandbytes",
    )  # fmt: skip


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'"{text}" is not a size; write WIDTHxHEIGHT, for example 768x768')
    return int(width), int(height)


def _load(options: argparse.Namespace) -> LuminaModel:
    precision = PRECISIONS[options.precision]
    model = LuminaModel.load(
        options.model, options.device, precision.dtype, quantized=precision.quantized,
        family=options.family, vq=options.vq, tokenizer=options.tokenizer, progress=Bar(),
    )  # fmt: skip
    print(f"model: {model.family.title}, fingerprint {model.fingerprint}, {model.transformer.precision}, on {model.device}")
    return model


class Bar:
    """A tqdm bar that follows Progress calls: time left is tqdm's."""

    def __init__(self):
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, message: str) -> None:
        if self.bar is None or self.bar.total != total or done < self.bar.n:
            self.close()
            self.bar = tqdm(total=total, leave=False, file=sys.stderr, delay=1)
        self.bar.set_description(message, refresh=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def run_personalize(options: argparse.Namespace) -> None:
    photos, report = read_photos(options.photos)
    print("\n".join(report))
    model = _load(options)
    chosen = {name: getattr(options, name) for name in (*TRAINING_OPTIONS, "initialisation", *SWITCHES)}
    if options.recipe == "paper":
        chosen = paper_values(options.method) | {name: value for name, value in chosen.items() if value is not None}
    settings = TrainingSettings.resolve(model.family, strategy=options.strategy, method=options.method, seed=options.seed, **chosen)
    print_values("training", settings.describe())
    if model.family is MINIATURE:
        print("note: the miniature only knows drawn scenes; photographs can be learned, but come back as drawings at best.")
    bar: Progress = Bar()
    cancel = Interruption()
    size = model.family.protocol.snap(*options.size) if options.size else None
    runs = options.runs or options.out.parent / "_runs"
    subject = prepare_subject(model, photos, options.class_name, size, runs=runs, progress=bar, cancel=cancel)
    for result in personalize(model, subject, settings, runs, identifier=options.identifier, progress=bar, cancel=cancel):
        curve = f"loss {result.losses[0]:.3f} -> {mean_of_last(result.losses):.3f}" if result.losses else ""
        print(f"{result.personalization.recipe['stage']}: {result.step} steps, {result.note}; {curve}")
    path = result.personalization.save(options.out)
    print(f"wrote {path} ({path.stat().st_size / 2**20:.2f} MiB). Trainings are remembered in {runs}.")


def paper_values(method: str) -> dict[str, object]:
    """PAPER_RECIPE as choices for TrainingSettings.resolve."""
    recipe = PAPER_RECIPE
    full = method == "full"
    return {
        "embedding_steps": recipe.embedding_steps, "layer_steps": recipe.full_steps if full else recipe.lora_steps,
        "embedding_learning_rate": recipe.embedding_learning_rate, "rank": recipe.lora_rank,
        "layer_learning_rate": recipe.full_learning_rate if full else recipe.lora_learning_rate, "vectors": recipe.vectors,
        "initialisation": recipe.initialisation, "per_image_token": recipe.per_image_token, "batch_size": recipe.batch_size,
    }  # fmt: skip


def print_values(title: str, values: dict[str, object]) -> None:
    print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))


def run_sample(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise ValueError(f"--n is {options.n}; it must be at least 1.")
    model = apply_files(_load(options), options.personalization, options.identifier, options.strength)
    settings = SamplingSettings.resolve(
        model.family, cfg=options.cfg, top_k=options.top_k, temperature=options.temperature, size=options.size, seed=options.seed
    )
    print_values("sampling", settings.describe())
    options.out.mkdir(parents=True, exist_ok=True)
    bar, cancel = Bar(), Interruption()
    for number, prompt in enumerate(options.prompt):
        if unknown := model.text.unknown_words(prompt):
            print(f"note: the model never saw the words {', '.join(unknown)}")
        images = model.generate(
            [prompt] * options.n, settings, progress=bar, cancel=cancel, graphs=options.cuda_graphs, compiled=options.compile
        )
        print(f"prompt: {images[0].prompt}")
        for k, image in enumerate(images):
            path = options.out / f"{number:02d}_{settings.seed}_{k:02d}.png"
            save_png(image, k, model, path)
            print(path)


def apply_files(model: LuminaModel, files: Sequence[Path], names: Sequence[str], strengths: Sequence[float]) -> LuminaModel:
    for index, file in enumerate(files):
        strength = strengths[index] if index < len(strengths) else 1.0
        name = names[index] if index < len(names) else None
        model = model.personalized(Personalization.load(file), strength, name)
    return model


def run_info(options: argparse.Namespace) -> None:
    if options.recipe == "paper":
        return print_recipe("the paper (arXiv 2504.13162)", PAPER_RECIPE, PAPER_SOURCES)
    if options.file is not None:
        p = Personalization.load(options.file)
        parameters = sum(t.numel() for t in p.adapter.parameters()) if p.adapter else 0
        print(
            f"{p.identifier} {p.class_name}: {len(p.vectors)} vector(s) + {p.adapter.method if p.adapter else 'no'} change of {parameters} parameters"
        )
        print(f"base fingerprint: {p.base_fingerprint}")
        return print_values("recipe", p.recipe)
    model = _load(options)
    parameters = sum(p.numel() for p in model.transformer.parameters()) + sum(p.numel() for p in model.image_tokenizer.parameters())
    print(f"parameters: {parameters / 1e6:.1f}M; licence: {model.family.licence}")
    weights = weight_bytes(model.transformer) + weight_bytes(model.image_tokenizer)
    recipe = model.family.recipe
    beside = picture_bytes(model.transformer, model.image_tokenizer.config, model.family.protocol, recipe.size, 1, recipe.cfg)
    print(f"memory: {weights / 2**20:.0f} MiB of weights, {beside / 2**20:.0f} MiB beside them for one picture (computed)")
    print("sizes: " + ", ".join(f"{w}x{h}" for w, h in model.family.protocol.sizes))
    if options.recipe:
        print_recipe(model.family.title, model.family.recipe, {})


def print_recipe(title: str, recipe: Recipe, sources: dict[str, str]) -> None:
    print(f"recipe of {title}:")
    for field in fields(recipe):
        source = sources.get(field.name, "our assumption") if sources else ""
        print(f"  {field.name:26} {getattr(recipe, field.name)!s:12} {source}".rstrip())


def run_demo(options: argparse.Namespace) -> None:
    from .demo import run

    run(options.photos, options.class_name, options.out, Bar())


def run_forget(options: argparse.Namespace) -> None:
    print(f"deleted {forget(options.runs)} remembered training(s) in {options.runs}")
