"""Measures the miniature and writes its model card.

    python -m workshop.evaluation.evaluate --folder runs/miniature

Four parts: the judges themselves, reconstruction, samples of held-out combinations, personalization of unseen
subjects. Trainings, sampled codes and each part's numbers are kept in the folder, so a stopped evaluation goes on;
what another model, recipe, judge or effort gave is never taken for the present one's.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ar_core.files import atomic_write, json_value, read_json, weights_hash, write_image, write_json, write_text
from ar_core.model import MINIATURE_FOLDER, ARModel
from ar_core.photos import Photo, stack, unstack
from ar_core.sampling import SamplingSettings
from ar_core.sheets import grid
from ar_core.training import Subject, TrainingSettings, personalize, prepare_subject

from ..world import scenes
from ..world.drawing import draw
from ..world.scenes import PLACES, describe, random_scene
from ..world.subjects import IN_RANGE, SUBJECTS, TUNING, photos_of
from .judges import SIDE, AttributeJudge, IdentityJudge, answers, anyone, train

SIZE, BATCH = 96, 16
BASE_CFG = 4.0  # the paper's guidance, at which the base is judged beside its recipe's own
PHOTOS, REFERENCES, DISTRACTORS = (
    5,
    4,
    15,
)  # distractors of the subject's own class; the other unseen subjects come on top
WAYS = {
    "before": "the class word alone",
    "embedding_only": "stage 1",
    "two_stage": "both stages",
    "drawn": "drawings of the subject through the image tokenizer: what could be reached",
}
MEASURES = ("identity", "place", "both")


@dataclass(frozen=True)
class Effort:
    """How much is measured; `training` shortens the recipe, for trying the evaluation out."""

    images: int = 500
    judge_steps: int = 4000
    galleries: int = 300
    subjects: tuple[str, ...] = tuple(SUBJECTS)
    seeds: tuple[int, ...] = (0, 1, 2)
    places: int = 6
    training: dict[str, object] = field(default_factory=dict)


ASKS = {  # what of an effort decides each part's numbers
    "judges": ("images", "judge_steps", "galleries"),
    "reconstruction": ("images",),
    "samples": ("images",),
    "personalization": ("subjects", "seeds", "places", "training"),
}
QUICK = Effort(16, 20, 4, ("purple_mug", "cream_cat"), (0,), 2, {"embedding_steps": 2, "layer_steps": 2})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/miniature"), help="judges, trainings, samples and numbers"
    )
    parser.add_argument("--model", default=MINIATURE_FOLDER, type=Path)
    parser.add_argument("--out", type=Path, help="where table.json and MODEL_CARD.md go (default: beside the model)")
    parser.add_argument("--sheets", type=Path, help="where the contact sheets go (default: FOLDER/sheets)")
    parser.add_argument("--images", type=int, default=Effort.images, help="held-out scenes, and samples")
    parser.add_argument("--judge-steps", type=int, default=Effort.judge_steps)
    parser.add_argument("--seeds", type=int, default=len(Effort.seeds), help="training seeds per subject")
    parser.add_argument(
        "--subjects",
        default=",".join(SUBJECTS),
        help="comma-separated (default: all); empty leaves personalization out",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only try it out: tiny numbers that mean nothing, in a temporary folder"
    )
    arguments = parser.parse_args()
    started = time.time()

    def log(message: str) -> None:
        print(f"[{(time.time() - started) / 60:6.1f} min] {message}", flush=True)

    folder, out, effort = arguments.folder, arguments.out or arguments.model, QUICK
    if arguments.quick:
        folder = Path(tempfile.mkdtemp(prefix="miniature-"))
        out = arguments.out or folder
    else:
        subjects = tuple(filter(None, arguments.subjects.split(",")))
        if unknown := set(subjects) - set(SUBJECTS):
            parser.error(f"there is no unseen subject {sorted(unknown)[0]}; choose from {', '.join(SUBJECTS)}")
        effort = Effort(arguments.images, arguments.judge_steps, subjects=subjects, seeds=tuple(range(arguments.seeds)))
    model = ARModel.load(arguments.model)
    attributes, identity = train(folder, effort.judge_steps, log=log)
    evaluation = Evaluation(model, attributes, identity, effort, folder, arguments.sheets or folder / "sheets", log)
    table = evaluation.run()
    write_card(out, arguments.folder, model, effort, table)
    log(f"wrote {out / 'table.json'} and {out / 'MODEL_CARD.md'}; sheets lie in {evaluation.sheets}")


# ---------------------------------------------------------------- parts


class Evaluation:
    """The four parts, each a method that returns its numbers."""

    def __init__(
        self,
        model: ARModel,
        attributes: AttributeJudge,
        identity: IdentityJudge,
        effort: Effort,
        folder: Path,
        sheets: Path,
        log: Callable[[str], None] = print,
    ):
        self.model, self.attributes, self.identity, self.effort, self.log = model, attributes, identity, effort, log
        recipe = json.dumps([asdict(model.family.recipe), effort.training], sort_keys=True)
        self.folder = folder / f"evaluation-{digest([model.transformer, model.image_tokenizer], recipe)}"
        self.sheets, self.trainings = sheets, folder / "evaluation_runs"
        for path in (self.folder, sheets):
            path.mkdir(parents=True, exist_ok=True)

    def run(self) -> dict[str, dict]:
        parts = (
            self.judges,
            self.reconstruction,
            self.samples,
            *([self.personalization] if self.effort.subjects else []),
        )
        return {part.__name__: self._part(part) for part in parts}

    def _part(self, part: Callable[[], dict]) -> dict:
        """The numbers kept from before where they answer the same question, else new ones."""
        path = self.folder / f"{part.__name__}.json"
        effort = {name: value for name, value in asdict(self.effort).items() if name in ASKS[part.__name__]}
        asked = json_value({"judges": digest([self.attributes, self.identity]), **effort})
        kept = read_json(path) if path.exists() else {}
        if kept.get("asked") != asked:
            kept = {"asked": asked, "found": part()}
            write_json(path, kept)
        self.log(f"{part.__name__}: {json.dumps(kept['found'])}")
        return kept["found"]

    def judges(self) -> dict:
        """How right the judges are about drawings, and about drawings that went through the image tokenizer."""
        world = held_out_scenes(self.effort.images, "judged scenes")
        drawings = [draw(scene, SIZE) for scene in world]
        result: dict = {}
        for name, pictures in (("drawings", drawings), ("reconstructions", reconstructed(self.model, drawings))):
            result[name] = accuracies([answers(scene) for scene in world], self.attributes.see(pictures))
        rng, hits = random.Random("judged identities"), {"drawings": 0, "reconstructions": 0}
        for _ in range(self.effort.galleries):
            subject = anyone(rng)
            places = rng.sample(list(PLACES), REFERENCES + 1)
            picture = draw(random_scene(rng, subject, places[-1]), SIZE)
            gallery = self._gallery(rng, [subject, *same_class(rng, subject.kind)], places[:-1])
            hits["drawings"] += self._retrieved(picture, gallery)
            hits["reconstructions"] += self._retrieved(reconstructed(self.model, [picture])[0], gallery)
        return {**result, "retrieval": {name: wilson(count, self.effort.galleries) for name, count in hits.items()}}

    def reconstruction(self) -> dict:
        """Decibels of held-out scenes and of the unseen subjects' photos after encoding and decoding."""
        world = [draw(scene, SIZE) for scene in held_out_scenes(self.effort.images, "reconstructed scenes")]
        unseen = [image for name in SUBJECTS for image, _ in photos_of(name, PHOTOS, SIZE)]
        return {
            "held-out scenes": mean_interval(decibels(self.model, world)),
            "unseen subjects": mean_interval(decibels(self.model, unseen)),
        }

    def samples(self) -> dict:
        """Samples of combinations that training left out, at two strengths of guidance."""
        world = held_out_scenes(self.effort.images, "sampled scenes")
        found, rows, labels = {}, [], []
        for cfg in dict.fromkeys((BASE_CFG, self.model.family.recipe.cfg)):
            pictures = self._held_out(world, cfg)
            found[f"cfg {cfg:g}"] = accuracies([answers(scene) for scene in world], self.attributes.see(pictures))
            starts = range(0, min(32, len(world)), 8)
            rows += [pictures[i : i + 8] for i in starts]
            labels += [f"cfg {cfg:g}: " + "  |  ".join(describe(scene) for scene in world[i : i + 8]) for i in starts]
        write_image(self.sheets / "samples.png", grid(rows, cell=144, labels=labels))
        return found

    def _held_out(self, world: Sequence[scenes.Scene], cfg: float) -> list[Image.Image]:
        settings = SamplingSettings.resolve(self.model.family, seed=0, cfg=cfg)
        pictures: list[Image.Image] = []
        for first in range(0, len(world), BATCH):
            prompts = [describe(scene) for scene in world[first : first + BATCH]]
            pictures += self._sampled(
                f"held-out-{cfg:g}-{first:05d}-{len(prompts)}", self.model, prompts, settings, first
            )
            self.log(f"sampled {len(pictures)}/{len(world)} at cfg {cfg:g}")
        return pictures

    def personalization(self, ways: Sequence[str] = tuple(WAYS)) -> dict:
        """Every unseen subject at new places, with several training seeds: is it the subject, and is it there?"""
        found: dict[str, dict[str, list[list[int]]]] = {way: {} for way in ways}
        for name in self.effort.subjects:
            for way, results in self._subject(name, ways).items():
                found[way][name] = results
                self.log(f"{name}, {way}: identity and place right in {np.mean([a and b for a, b in results]):.2f}")
        return {way: summary(by_subject) for way, by_subject in found.items()}

    def _subject(self, name: str, ways: Sequence[str]) -> dict[str, list[list[int]]]:
        """By way, [identity right, place right] for every training seed and place."""
        who = {**SUBJECTS, **TUNING}[name]
        photos, shown = zip(*photos_of(name, PHOTOS))
        seen = [scene.place for scene in shown]
        places = [place for place in PLACES if place not in seen][: self.effort.places]
        subject = prepare_subject(
            self.model, [Photo(f"{i}", image) for i, image in enumerate(photos)], who.kind, runs=self.trainings
        )
        rng = random.Random(f"gallery {name}")
        others = [*same_class(rng, who.kind), *(other for key, other in SUBJECTS.items() if key != name)]
        gallery = [self.identity.vectors(list(photos[:REFERENCES])), *self._gallery(rng, others, seen[:REFERENCES])]
        pictures: dict[str, list[list[Image.Image]]] = {way: [] for way in ways}
        for seed in self.effort.seeds:
            for way in ways:
                pictures[way].append(
                    reconstructed(self.model, [draw(random_scene(rng, who, place), SIZE) for place in places])
                    if way == "drawn"
                    else self._personalized(name, subject, way, seed, places)
                )
        rows = [[photos[i % PHOTOS], *row] for way in ways for i, row in enumerate(pictures[way])]
        labels = [f"{way}: {WAYS.get(way, way)}; training seed {seed}" for way in ways for seed in self.effort.seeds]
        sheet = grid(rows, cell=144, columns=["photo", *places], labels=labels, title=name)
        write_image(self.sheets / f"{name}.png", sheet)
        return {
            way: [
                [int(self._retrieved(picture, gallery)), int(self.attributes.see([picture])[0]["place"] == place)]
                for row in pictures[way]
                for place, picture in zip(places, row)
            ]
            for way in ways
        }

    def _personalized(
        self, name: str, subject: Subject, way: str, seed: int, places: Sequence[str]
    ) -> list[Image.Image]:
        strategy = "embedding_only" if way == "before" else way  # a strength of 0 leaves the base, whatever was learned
        settings = TrainingSettings.resolve(self.model.family, strategy=strategy, seed=seed, **self.effort.training)
        learned = personalize(self.model, subject, settings, self.trainings)[-1].personalization
        prompts = [f"a photo of [V] {subject.class_name} {PLACES[place]}" for place in places]
        model = self.model.personalized(learned, 0.0 if way == "before" else 1.0)
        sampling = SamplingSettings.resolve(self.model.family, seed=100 + seed)
        return self._sampled(f"{name}-{way}-{seed}-{len(places)}", model, prompts, sampling)

    def _sampled(
        self, name: str, model: ARModel, prompts: list[str], settings: SamplingSettings, first: int = 0
    ) -> list[Image.Image]:
        """One picture per prompt; the codes are kept under `name`."""
        path = self.folder / "samples" / f"{name}.npy"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            codes = torch.cat([sample.codes for sample in model.generate(prompts, settings, first_image=first)])
            with atomic_write(path) as file:
                np.save(file, codes.numpy().astype(np.uint16))
        return unstack(self.model.decode(torch.from_numpy(np.load(path).astype(np.int64))))

    def _gallery(self, rng: random.Random, subjects: Sequence[scenes.Subject], places: Sequence[str]) -> list[Tensor]:
        """Each subject's reference pictures as vectors, all at the same places so that no place speaks for anyone."""
        return [
            self.identity.vectors([draw(random_scene(rng, subject, place), SIDE) for place in places])
            for subject in subjects
        ]

    def _retrieved(self, picture: Image.Image, gallery: list[Tensor]) -> bool:
        """Whether gallery entry 0 is nearest to the picture, by its mean similarity to an entry's references."""
        vector = self.identity.vectors([picture])[0]
        return int(torch.stack([(references @ vector).mean() for references in gallery]).argmax()) == 0


def held_out_scenes(count: int, seed: str) -> list[scenes.Scene]:
    rng = random.Random(seed)
    return [random_scene(rng, held_out=True) for _ in range(count)]


def same_class(rng: random.Random, kind: str) -> list[scenes.Subject]:
    return [anyone(rng, kind) for _ in range(DISTRACTORS)]


def reconstructed(model: ARModel, images: list[Image.Image]) -> list[Image.Image]:
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return [picture for part in parts for picture in unstack(model.decode(model.encode(stack(part))))]


def decibels(model: ARModel, images: list[Image.Image]) -> list[float]:
    """PSNR of each image."""
    errors = (stack(reconstructed(model, images)) - stack(images)).square().mean((1, 2, 3))
    return (-10 * errors.clamp_min(1e-10).log10()).tolist()


def digest(modules: Sequence[nn.Module], more: str = "") -> str:
    """A name for these weights."""
    return weights_hash(modules, more)[:12]


# ---------------------------------------------------------------- numbers


def accuracies(truth: list[dict[str, str]], seen: list[dict[str, str]]) -> dict[str, list[float]]:
    """Share of right answers by attribute, and of pictures with class, colour and place all right, with intervals."""
    result = {name: wilson(sum(t[name] == s[name] for t, s in zip(truth, seen)), len(truth)) for name in truth[0]}
    all_three = sum(all(t[n] == s[n] for n in ("class", "colour", "place")) for t, s in zip(truth, seen))
    return {**result, "class & colour & place": wilson(all_three, len(truth))}


def summary(by_subject: dict[str, list[list[int]]]) -> dict:
    """Identity, place and both, per subject and over groups of subjects (intervals: bootstrap over subjects)."""
    rates = {name: np.array([[a, b, a and b] for a, b in found]).mean(0) for name, found in by_subject.items()}
    in_range = [name for name in rates if name in IN_RANGE]
    groups = {"in range": in_range, "out of range": [n for n in rates if n not in in_range], "all": list(rates)}
    result: dict = {"subjects": {name: dict(zip(MEASURES, rate.round(3).tolist())) for name, rate in rates.items()}}
    for group, names in groups.items():
        if not names:
            continue
        result[group] = {
            measure: mean_interval([float(rates[n][i]) for n in names]) for i, measure in enumerate(MEASURES)
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


def write_card(out: Path, training: Path, model: ARModel, effort: Effort, table: dict) -> None:
    """`table.json` and `MODEL_CARD.md` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    whole = {"fingerprint": model.fingerprint, "effort": asdict(effort), "machine": machine(), **table}
    write_json(out / "table.json", whole)
    record, recorded = training / "training.json", {"settings, seed, steps, time, machine": "not recorded"}
    if record.exists():
        recorded = read_json(record)
    personalized = learned(model, effort, table["personalization"]) if effort.subjects else NOT_PERSONALIZED
    lines = [*introduction(model, effort, recorded), *judged(table), *personalized, *LIMITS]
    write_text(out / "MODEL_CARD.md", "\n".join(lines))


def introduction(model: ARModel, effort: Effort, recorded: dict) -> list[str]:
    short = [
        "**A trial run of the evaluation with shortened trainings: these numbers say nothing about the model.**",
        "",
    ]
    return [
        "# The miniature",
        "",
        f"Licence: {model.family.licence}",
        "",
        "A small auto-regressive text-to-image model of drawn scenes (96 px, 16x16 codes) in the file layout of Lumina-mGPT 7B.",
        "It exists so that everything in this repository runs without a download. It was trained from nothing on drawings made by",
        "`workshop/world/`; it has never seen a photograph.",
        "",
        f"Fingerprint `{model.fingerprint}`. Measured by `python -m workshop.evaluation.evaluate` on {machine()}.",
        "Brackets hold 95 % intervals.",
        "",
        *(short if effort.training else []),
        "## Training",
        "",
        *[f"- {key}: {value}" for key, value in recorded.items()],
        "",
    ]


def judged(table: dict) -> list[str]:
    fidelity = [f"- {name}: {shown(value)}" for name, value in table["reconstruction"].items()]
    retrieval = "; ".join(f"{name} {shown(value)}" for name, value in table["judges"]["retrieval"].items())
    return [
        "## The judges",
        "",
        "Two small networks trained on drawings measure everything below. Their own share of right answers about scenes that the",
        "miniature's training left out, as drawn and after the image tokenizer: the most that samples could reach.",
        "",
        *rows_of({name: table["judges"][name] for name in ("drawings", "reconstructions")}),
        "",
        f"A new picture of a subject is nearest to its own {REFERENCES} pictures and not to those of {DISTRACTORS} others of its class",
        f"(chance {1 / (DISTRACTORS + 1):.2f}): {retrieval}.",
        "",
        "## Reconstruction (PSNR in dB, mean per image)",
        "",
        *fidelity,
        "",
        "## Samples of held-out combinations",
        "",
        "Class, colour and pattern never occurred together in training.",
        "",
        *rows_of(table["samples"]),
        "",
    ]


def learned(model: ARModel, effort: Effort, table: dict) -> list[str]:
    recipe, others, seeds = model.family.recipe, DISTRACTORS + len(SUBJECTS) - 1, ", ".join(map(str, effort.seeds))
    lines = [
        "## Personalization of unseen subjects",
        "",
        f"{len(effort.subjects)} subjects, {PHOTOS} photos each, {effort.places} places that no photo shows, training seeds {seeds};",
        f"cfg {recipe.cfg:g}, top-k {recipe.top_k}.",
        f"Identity: the picture is nearest to the subject's photos among {others} others, {DISTRACTORS} of them of its class. Place: the",
        "attribute judge sees the place that was asked for. Read both together: copying a photo gives identity without place.",
        "Intervals: bootstrap over subjects, of which there are few.",
        "",
    ]
    for group in ("in range", "out of range", "all"):
        rows = {f"{way} ({WAYS[way]})": table[way][group] for way in WAYS}
        lines += [f"### {group}", "", *rows_of(rows), ""]
    lines += [
        "### By subject: identity / place / both",
        "",
        f"| | {' | '.join(WAYS)} |",
        "|---" * (len(WAYS) + 1) + "|",
    ]
    for name in effort.subjects:
        cells = [" / ".join(f"{table[way]['subjects'][name][measure]:.2f}" for measure in MEASURES) for way in WAYS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


NOT_PERSONALIZED = ["## Personalization of unseen subjects", "", "Not measured for this version yet.", ""]
LIMITS = [
    "## Limits",
    "",
    "- Twelve classes, twelve colours, five patterns, twelve places and four accessories, in the words of its own captions.",
    "- Photographs can be encoded and learned from, but come back as drawings at best.",
    "- The judges were made for this table, from the same drawing code as the model: the numbers compare with nothing published and say",
    "  nothing about the 7B. The identity judge is partly a judge of colour.",
]


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
