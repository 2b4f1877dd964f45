"""Measures the miniature and writes its model card.

    python -m ar_core.miniature.evaluate --folder runs/miniature

Four parts: the judges themselves, reconstruction, samples of held-out combinations, personalization of unseen
subjects. Each part's numbers are kept in the folder, trainings are remembered there, so a stopped evaluation goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..model import MINIATURE_FOLDER, LuminaModel
from ..photos import Photo, stack, unstack
from ..sampling import SamplingSettings
from ..sheets import grid
from ..training import Subject, TrainingSettings, personalize, prepare_subject
from .drawing import draw
from .judges import AttributeJudge, IdentityJudge, answers, anyone, train
from .scenes import PLACES, describe, random_scene
from .subjects import IN_RANGE, SUBJECTS, photos_of

SIZE, BATCH = 128, 16
PHOTOS, PLACES_TRIED, SEEDS, DISTRACTORS = 5, 6, (0, 1, 2), 16


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ar_core.miniature.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/miniature"), help="judges, trainings, numbers and sheets")
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--images", type=int, default=512, help="held-out scenes, and samples")
    parser.add_argument("--judge-steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="training seeds per subject")
    arguments = parser.parse_args()
    started = time.time()

    def log(message: str) -> None:
        print(f"[{(time.time() - started) / 60:6.1f} min] {message}", flush=True)

    model = LuminaModel.load(arguments.model)
    folder = arguments.folder / f"evaluation-{model.fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    attributes, identity = train(arguments.folder, arguments.judge_steps, log=log)
    parts: dict[str, Callable[[], dict]] = {
        "judges": lambda: measure_judges(model, attributes, identity, arguments.images),
        "reconstruction": lambda: measure_reconstruction(model, arguments.images),
        "samples": lambda: measure_samples(model, attributes, arguments.images, folder, log),
        "personalization": lambda: measure_personalization(model, attributes, identity, arguments.seeds, folder, log),
    }
    table = {}
    for name, measure in parts.items():
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measure(), indent=1), encoding="utf-8")
        table[name] = json.loads(path.read_text(encoding="utf-8"))
        log(f"{name}: {table[name]}")
    write_card(arguments.model, arguments.folder, model, table)


# ---------------------------------------------------------------- parts


def held_out_scenes(count: int, seed: str) -> list:
    rng = random.Random(seed)
    return [random_scene(rng, held_out=True) for _ in range(count)]


def reconstructed(model: LuminaModel, images: list[Image.Image]) -> list[Image.Image]:
    return [picture for i in range(0, len(images), BATCH) for picture in unstack(model.decode(model.encode(stack(images[i : i + BATCH]))))]


def measure_judges(model: LuminaModel, attributes: AttributeJudge, identity: IdentityJudge, count: int) -> dict:
    """How right the judges are about drawings, and about drawings that went through the image tokenizer."""
    scenes = held_out_scenes(count, "judged scenes")
    drawings = [draw(scene, SIZE) for scene in scenes]
    result = {}
    for name, images in (("drawings", drawings), ("reconstructions", reconstructed(model, drawings))):
        result[name] = accuracies([answers(scene) for scene in scenes], attributes.see(images))
    rng, hits = random.Random("judged identities"), 0
    for _ in range(100):
        subject = anyone(rng)
        gallery = [
            references([draw(random_scene(rng, s), SIZE) for _ in range(PHOTOS)], identity)
            for s in [subject, *distractors(rng, subject.kind)]
        ]
        hits += retrieved(identity, reconstructed(model, [draw(random_scene(rng, subject), SIZE)])[0], gallery)
    result["retrieval"] = wilson(hits, 100)
    return result


def measure_reconstruction(model: LuminaModel, count: int) -> dict:
    """Decibels of held-out scenes and of the unseen subjects' photos after encoding and decoding."""
    scenes = [draw(scene, SIZE) for scene in held_out_scenes(count, "reconstructed scenes")]
    subjects = [image for name in SUBJECTS for image, _ in photos_of(name, PHOTOS, SIZE)]
    return {"held-out scenes": mean_interval(decibels(model, scenes)), "unseen subjects": mean_interval(decibels(model, subjects))}


def decibels(model: LuminaModel, images: list[Image.Image]) -> list[float]:
    """PSNR of each image."""
    errors = (stack(reconstructed(model, images)) - stack(images)).square().mean((1, 2, 3))
    return (-10 * errors.log10()).tolist()


def measure_samples(model: LuminaModel, attributes: AttributeJudge, count: int, folder: Path, log) -> dict:
    """Samples of combinations that training left out, at the recipe's guidance."""
    scenes = held_out_scenes(count, "sampled scenes")
    settings = SamplingSettings.resolve(model.family, seed=0)
    images: list[Image.Image] = []
    for first in range(0, count, BATCH):
        part = model.generate([describe(scene) for scene in scenes[first : first + BATCH]], settings, first_image=first)
        images += [unstack(sample.images)[0] for sample in part]
        log(f"sampled {len(images)}/{count}")
    shown = 32
    rows = [images[i : i + 8] for i in range(0, min(shown, count), 8)]
    grid(rows, cell=144, labels=["  |  ".join(describe(s) for s in scenes[i : i + 8]) for i in range(0, min(shown, count), 8)]).save(
        folder / "samples.png"
    )
    return accuracies([answers(scene) for scene in scenes], attributes.see(images))


def measure_personalization(model: LuminaModel, attributes: AttributeJudge, identity: IdentityJudge, seeds: int, folder: Path, log) -> dict:
    """Every unseen subject, new places, several training seeds: is it the subject, and is it there?"""
    result: dict = {}
    for name in SUBJECTS:
        photos = photos_of(name, PHOTOS, SIZE)
        subject = prepare_subject(
            model, [Photo(f"{i}", image) for i, (image, _) in enumerate(photos)], SUBJECTS[name].kind, runs=folder / "_runs"
        )
        seen = {scene.place for _, scene in photos}
        places = [place for place in PLACES if place not in seen][:PLACES_TRIED]
        rng = random.Random(f"gallery {name}")
        others = [[draw(random_scene(rng, s), SIZE) for _ in range(PHOTOS)] for s in distractors(rng, SUBJECTS[name].kind)]
        gallery = [references(pictures, identity) for pictures in [[image for image, _ in photos], *others]]
        for strategy in ("embedding_only", "two_stage"):
            rows = []
            for seed in SEEDS[:seeds]:
                images = sample_places(model, subject, strategy, seed, places, folder)
                rows.append(images)
                for place, image in zip(places, images):
                    found = {"identity": retrieved(identity, image, gallery), "place": attributes.see([image])[0]["place"] == place}
                    result.setdefault(strategy, {}).setdefault(name, []).append([int(found["identity"]), int(found["place"])])
            sheet = [[photos[i][0], *images] for i, images in enumerate(rows)]
            grid(sheet, cell=144, columns=["photo", *places], title=f"{name}, {strategy}").save(folder / f"{name}_{strategy}.png")
            log(f"{name} {strategy}: identity and place right in {np.mean([a and b for a, b in result[strategy][name]]):.2f}")
    return {strategy: summary(by_subject) for strategy, by_subject in result.items()}


def sample_places(model: LuminaModel, subject: Subject, strategy: str, seed: int, places: list[str], folder: Path) -> list[Image.Image]:
    settings = TrainingSettings.resolve(model.family, strategy=strategy, seed=seed)
    learned = personalize(model, subject, settings, folder / "_runs")[-1].personalization
    prompts = [f"a photo of [V] {subject.class_name} {PLACES[place]}" for place in places]
    samples = model.personalized(learned).generate(prompts, SamplingSettings.resolve(model.family, seed=100 + seed))
    return [unstack(sample.images)[0] for sample in samples]


def distractors(rng: random.Random, kind: str) -> list:
    """Other subjects of the same class."""
    return [anyone(rng, kind) for _ in range(DISTRACTORS - 1)]


def references(images: list[Image.Image], identity: IdentityJudge) -> torch.Tensor:
    return identity.vectors(images)


def retrieved(identity: IdentityJudge, image: Image.Image, gallery: list[torch.Tensor]) -> bool:
    """Whether the picture is closer to gallery entry 0 (mean similarity to its pictures) than to any other."""
    vector = identity.vectors([image])[0]
    return int(torch.stack([(pictures @ vector).mean() for pictures in gallery]).argmax()) == 0


# ---------------------------------------------------------------- numbers


def accuracies(truth: list[dict[str, str]], seen: list[dict[str, str]]) -> dict[str, list[float]]:
    """Share of right answers by attribute, and of pictures with class, colour and place all right, with intervals."""
    result = {name: wilson(sum(t[name] == s[name] for t, s in zip(truth, seen)), len(truth)) for name in truth[0]}
    all_three = sum(all(t[n] == s[n] for n in ("class", "colour", "place")) for t, s in zip(truth, seen))
    return {**result, "class & colour & place": wilson(all_three, len(truth))}


def summary(by_subject: dict[str, list[list[int]]]) -> dict:
    """Identity, place and both, per subject and over groups of subjects (intervals: bootstrap over subjects)."""
    rates = {name: np.array([[a, b, a and b] for a, b in found]).mean(0) for name, found in by_subject.items()}
    groups = {"in range": [n for n in rates if n in IN_RANGE], "out of range": [n for n in rates if n not in IN_RANGE], "all": list(rates)}
    result: dict = {"subjects": {name: dict(zip(("identity", "place", "both"), rate.round(3).tolist())) for name, rate in rates.items()}}
    for group, names in groups.items():
        result[group] = {
            measure: mean_interval([float(rates[n][i]) for n in names]) for i, measure in enumerate(("identity", "place", "both"))
        }
    return result


def wilson(hits: int, count: int, z: float = 1.96) -> list[float]:
    """[share, low, high]: Wilson's 95 % interval of a proportion."""
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return [round(v, 4) for v in (share, centre - half, centre + half)]


def mean_interval(values: list[float], draws: int = 2000) -> list[float]:
    """[mean, low, high]: 95 % bootstrap interval of the mean."""
    array, rng = np.array(values), np.random.default_rng(0)
    means = array[rng.integers(0, len(array), (draws, len(array)))].mean(1)
    return [round(float(v), 4) for v in (array.mean(), *np.quantile(means, (0.025, 0.975)))]


# ---------------------------------------------------------------- the card


def write_card(out: Path, training: Path, model: LuminaModel, table: dict) -> None:
    """`table.json` and `MODEL_CARD.md` beside the weights."""
    (out / "table.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    record = training / "training.json"
    settings = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"training": "not recorded"}
    lines = [
        "# The miniature", "",
        "A small auto-regressive text-to-image model of drawn scenes, of the same classes and file layout as Lumina-mGPT 7B.",
        "It exists so that everything in this repository runs without a download. Trained from nothing on drawings by",
        "`ar_core/miniature/`; it has never seen a photograph. Licence: Apache-2.0.", "",
        f"Fingerprint `{model.fingerprint}`. Measured by `python -m ar_core.miniature.evaluate` on {machine()}.", "",
        "## Training", "", *[f"- {key}: {value}" for key, value in settings.items()], "",
        "## The judges", "", "Small networks trained on drawings; share of right answers with 95 % intervals.", "",
        *rows_of({"drawings": table["judges"]["drawings"], "reconstructions": table["judges"]["reconstructions"]}),
        "", f"Retrieval of a reconstructed subject among {DISTRACTORS} of its class: {shown(table['judges']['retrieval'])}.", "",
        "## Reconstruction (PSNR, dB)", "", *[f"- {name}: {shown(value)}" for name, value in table["reconstruction"].items()], "",
        "## Samples of held-out combinations", "", *rows_of({"samples": table["samples"]}), "",
        "## Personalization of unseen subjects", "",
        f"{PHOTOS} photos, {PLACES_TRIED} new places, training seeds {', '.join(map(str, SEEDS))}. Identity: retrieved among {DISTRACTORS} subjects of its class.", "",
    ]  # fmt: skip
    for strategy, groups in table["personalization"].items():
        lines += [f"### {strategy}", "", *rows_of({g: groups[g] for g in ("in range", "out of range", "all")}), ""]
        lines += ["| subject | identity | place | both |", "|---|---|---|---|"]
        lines += [f"| {name} | {v['identity']:.2f} | {v['place']:.2f} | {v['both']:.2f} |" for name, v in groups["subjects"].items()]
        lines.append("")
    (out / "MODEL_CARD.md").write_text("\n".join(lines), encoding="utf-8")


def rows_of(table: dict[str, dict[str, list[float]]]) -> list[str]:
    columns = list(next(iter(table.values())))
    head = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | {' | '.join(shown(row[c]) for c in columns)} |" for name, row in table.items()]


def shown(value: list[float]) -> str:
    digits = 1 if value[0] > 2 else 2
    return f"{value[0]:.{digits}f} ({value[1]:.{digits}f}–{value[2]:.{digits}f})"


def machine() -> str:
    return f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
