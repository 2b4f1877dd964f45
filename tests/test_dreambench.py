"""The DreamBench protocol: measures against numbers worked out by hand, encoders against transformers' processors."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny_encoders import write_encoders

from ar_core import cli
from ar_core.commands.scoring import protocol_of
from ar_core.dreambench import benchmark
from ar_core.dreambench.architectures import CLIP, VIT
from ar_core.dreambench.benchmark import Benchmark, OtherPlan, Plan
from ar_core.dreambench.dataset import ACCESSORY, PLACE, PROPERTY, BenchPrompt, DataSetError
from ar_core.dreambench.encoders import CLIP_INPUT, DINO_INPUT, PAPER_ENCODERS, EncoderError, Encoders
from ar_core.dreambench.measures.copies import copy_check
from ar_core.dreambench.measures.diversity import diversity
from ar_core.dreambench.measures.likeness import real_images, subject_fidelity
from ar_core.dreambench.measures.prior import prior_preservation
from ar_core.dreambench.measures.prompt import prompt_fidelity
from ar_core.dreambench.over_subjects import score_table
from ar_core.dreambench.pictures import PicturesError, find_pictures_to_score
from ar_core.dreambench.report import scores_as_json, scores_as_markdown
from ar_core.dreambench.scoring import score_subject
from ar_core.dreambench.sheet import score_sheet
from ar_core.dreambench.statistics import mean_interval, number_text
from ar_core.dreambench.suites import choose_suite
from ar_core.families.miniature import MINIATURE
from ar_core.memory import drawing_bytes
from ar_core.model import ARModel
from ar_core.shipped import example_subjects
from ar_core.text import without_identifier

FILE = """Classes

subject_name,class
cup,cup
dog9,dog

Prompts

Object Prompts

prompt_list = [
'a {0} {1} at home'.format(unique_token, class_token),
'a green {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} at home'.format(unique_token, class_token),
'a {0} {1} wearing a bell'.format(unique_token, class_token)
]
"""


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def photo(path, seed, size=(90, 90), **info):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **info)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text(FILE, encoding="utf-8")
    for number in range(3):
        photo(tmp_path / "dataset" / "cup" / f"0{number}.jpg", number)
        photo(tmp_path / "dataset" / "dog9" / f"0{number}.jpg", 10 + number)
    return tmp_path


# ---------------------------------------------------------------- data set


def read(folder):
    return choose_suite(folder).read()


def test_subjects_prompts_and_capabilities(data):
    found = read(data)
    assert [(s.name, s.class_name, len(s.photos), s.live) for s in found.subjects] == [
        ("cup", "cup", 3, False),
        ("dog9", "dog", 3, True),
    ]
    cup, dog = found.subjects
    assert [p.personal("cup") for p in found.prompts(cup)] == ["a [V] cup at home", "a green [V] cup"]
    assert [p.plain("dog") for p in found.prompts(dog)] == ["a dog at home", "a dog wearing a bell"]
    assert [p.capability for p in (*found.prompts(cup), *found.prompts(dog))] == [PLACE, PROPERTY, PLACE, ACCESSORY]
    assert BenchPrompt("a {0} {1} in a chef outfit").capability == ACCESSORY
    assert read(data / "dataset").subject("cup") == cup  # either folder


def test_one_report_names_everything_that_is_odd(data):
    (data / "dataset" / "cup" / "01.jpg").write_bytes(b"no picture")
    (data / "dataset" / "cup" / ".DS_Store").write_bytes(b"")
    for path in (data / "dataset" / "dog9").iterdir():
        path.unlink()
    photo(data / "dataset" / "stranger" / "00.jpg", 5)
    found = read(data)
    report = "\n".join(found.problems)
    assert [s.name for s in found.subjects] == ["cup"] and len(found.subjects[0].photos) == 2
    for expected in (
        "01.jpg: skipped, damaged",
        "dog9",
        "stranger: no subject of that name",
        "2 found, 30 subjects expected",
    ):
        assert expected in report
    assert ".DS_Store" not in report


def test_a_data_set_that_cannot_be_used_says_so(tmp_path, data):
    with pytest.raises(DataSetError, match="prompts_and_classes.txt is missing"):
        read(tmp_path / "nowhere")
    (data / "dataset" / "prompts_and_classes.txt").write_text("Classes\n", encoding="utf-8")
    with pytest.raises(DataSetError, match="nothing to score"):
        read(data)
    with pytest.raises(DataSetError, match='no subject "x"'):
        (data / "dataset" / "prompts_and_classes.txt").write_text(FILE, encoding="utf-8")
        read(data).subject("x")


# ---------------------------------------------------------------- measures, by hand


def test_fidelity_is_the_mean_over_all_photos():
    generated, photos = unit([1, 0], [3, 4]), unit([1, 0], [0, 1])
    assert torch.allclose(subject_fidelity(generated, photos), torch.tensor([0.5, 0.7]))
    assert torch.allclose(prompt_fidelity(generated, unit([0, 1], [3, 4])), torch.tensor([0.0, 1.0]))


def test_real_images_leave_out_a_photo_with_itself():
    photos = unit([1, 0], [0, 1], [3, 4])  # pairs: 0, 0.6, 0.8
    assert math.isclose(real_images(photos), 1.4 / 3, abs_tol=1e-6)
    assert math.isnan(real_images(photos[:1]))


def test_a_copy_is_closer_to_a_photo_than_photos_are_to_each_other():
    check = copy_check(unit([1, 0], [1, 1]), unit([1, 0], [0, 1], [3, 4]))
    assert math.isclose(check.limit, 0.8, abs_tol=1e-6)
    assert torch.allclose(check.nearest, torch.tensor([1.0, 7 / (5 * math.sqrt(2))])) and check.suspected.tolist() == [
        True,
        True,
    ]
    assert copy_check(unit([1, 0.9]), unit([1, 0], [0, 1], [3, 4])).suspected.tolist() == [True]
    assert copy_check(unit([-1, 0.1]), unit([1, 0], [0, 1], [3, 4])).suspected.tolist() == [False]


def test_diversity_compares_pictures_of_one_prompt_only():
    generated = unit([1, 0], [0, 1], [1, 0], [1, 0])
    assert math.isclose(diversity(generated, ["a", "a", "b", "b"]), (1 + 0) / 2, abs_tol=1e-6)
    assert math.isnan(diversity(generated[:2], ["a", "b"]))


def test_prior_preservation_is_the_likeness_of_the_bare_class():
    assert math.isclose(prior_preservation(unit([1, 0], [0, 1]), unit([1, 0])), 0.5, abs_tol=1e-6)


def test_a_number_that_does_not_exist_is_a_dash():
    assert str(mean_interval([float("nan")])) == number_text(float("nan")) == "–"
    assert str(mean_interval([0.5, 0.5])) == "0.500 (–)"  # of two subjects there is no interval


# ---------------------------------------------------------------- encoders


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_encoders(tmp_path_factory.mktemp("scorers"))


@pytest.fixture(scope="module")
def encoders(folders):
    return Encoders.load(paper(folders / "dino", folders / "clip"))


def paper(vit, clip):
    """The paper's choice, read from these folders and in any size."""
    return replace(PAPER_ENCODERS, vit=vit, clip=clip, vit_needs=VIT, clip_needs=CLIP)


def own(folders) -> list[str]:
    """Options that score with these encoders, which are too small to be called DINO and CLIP."""
    return ["--encoders", "own", "--dino", str(folders / "dino"), "--clip", str(folders / "clip")]


@pytest.mark.parametrize("size", [(512, 512), (300, 200), (97, 410), (224, 224)])
@pytest.mark.parametrize(
    "ours, options", [(DINO_INPUT, {"size": {"shortest_edge": 256}}), (CLIP_INPUT, {})], ids=["dino", "clip"]
)
def test_preprocessing_is_transformers_own(size, ours, options):
    try:  # its name since transformers 5
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor
    except ImportError:
        from transformers import CLIPImageProcessor

    if options:
        options = {**options, "image_mean": list(ours.mean), "image_std": list(ours.std)}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    theirs = CLIPImageProcessor(**options)(image, return_tensors="np")["pixel_values"][0]
    mine = ours([image])[0].numpy()
    assert mine.shape == (3, 224, 224) and np.abs(mine - theirs).max() < 1e-5


def test_pictures_become_unit_vectors_whatever_the_batch(encoders):
    images = [Image.new("RGB", (60 + i, 80), (i * 7, 90, 200 - i)) for i in range(35)]  # more than one batch
    dino, clip = encoders.embed_images(images)
    assert dino.shape == (35, 24) and clip.shape == (35, 12)
    assert torch.allclose(dino.norm(dim=1), torch.ones(35), atol=1e-5)
    alone = encoders.embed_images(images[33:34])
    assert torch.allclose(alone[0], dino[33:34], atol=1e-5) and torch.allclose(alone[1], clip[33:34], atol=1e-5)


def test_clip_is_read_as_transformers_reads_it(encoders):
    image, sentence = Image.new("RGB", (224, 224), (10, 200, 90)), "a dog"
    words = encoders.tokenizer([sentence], return_tensors="pt")
    output = encoders.clip(
        input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=CLIP_INPUT([image])
    )
    assert torch.allclose(encoders.embed_texts([sentence]), output.text_embeds, atol=1e-5)
    assert torch.allclose(encoders.embed_images([image])[1], output.image_embeds, atol=1e-5)


def test_padding_changes_no_sentence(encoders):
    together = encoders.embed_texts(["a dog", "a very long sentence about a cat and a mat"])
    assert torch.allclose(together[:1], encoders.embed_texts(["a dog"]), atol=1e-5)


def test_a_prompt_that_is_longer_than_what_is_read_is_said(encoders, tmp_path, capsys):
    words = "a cup " * 30  # the small vocabulary has a token for each letter
    assert encoders.longest_text == 77
    assert encoders.describe_cut(["a cup", "a dog"]) == ""
    said = encoders.describe_cut([words, words, "a cup"])
    assert said.startswith(
        'CLIP-T reads 77 tokens of a prompt, and compares 1 of 2 prompts by their beginning alone, such as "a'
    )
    assert encoders.embed_texts([words, "a cup"]).shape == (2, 12)
    assert torch.allclose(encoders.embed_texts([words]), encoders.embed_texts([words + " and more"]), atol=1e-6)
    photo(tmp_path / "photos" / "0.png", 1)
    photo(tmp_path / "photos" / "1.png", 2)
    photo(tmp_path / "made" / f"{words.strip().replace(' ', '_')}__0.png", 30)
    command = ["score", "--images", str(tmp_path / "made"), "--photos", str(tmp_path / "photos")]
    assert cli.main([*command, "--encoders", "miniature", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("prompts by their beginning alone") == 1


def test_names_hold_a_revision_and_missing_files_are_named(encoders, folders, tmp_path):
    assert encoders.names["DINO"].startswith("dino@weights ") and encoders.names["CLIP-I and CLIP-T"].startswith(
        "clip@weights "
    )
    with pytest.raises(EncoderError, match="no folder .*model.safetensors"):
        Encoders.load(paper(tmp_path / "none", folders / "clip"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="The folder .*empty has no config.json"):
        Encoders.load(paper(tmp_path / "empty", folders / "clip"))


def test_a_tokenizer_that_cannot_be_read_is_named(folders, tmp_path):
    shutil.copytree(folders / "clip", tmp_path / "clip")
    (tmp_path / "clip" / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EncoderError, match="The tokenizer in the folder .*clip.* It needs tokenizer.json"):
        Encoders.load(paper(folders / "dino", tmp_path / "clip"))


def test_an_outdated_transformers_is_named_with_the_version_that_is_needed(folders, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.36.0")
    with pytest.raises(
        EncoderError, match=r"needs transformers 4\.37\.2 or later and found 4\.36\.0: .* -m pip install"
    ):
        Encoders.load(paper(folders / "dino", folders / "clip"))


# ---------------------------------------------------------------- pictures of any tool


def test_three_ways_to_say_what_a_picture_shows(tmp_path):
    photo(tmp_path / "named" / "cup__a_cup_at_home__0.png", 1)
    (found,) = find_pictures_to_score(tmp_path / "named")
    assert (found.subject, found.prompt) == ("cup", "a cup at home")

    note = PngInfo()
    note.add_itxt("prompt", "a photo of [V] cup on the beach")
    photo(tmp_path / "ours" / "cup" / "00_1_00.png", 2, pnginfo=note)
    (found,) = find_pictures_to_score(tmp_path / "ours")
    assert (found.subject, found.prompt) == ("cup", "a photo of cup on the beach")

    photo(tmp_path / "listed" / "x.png", 3)
    (tmp_path / "listed" / "pictures.csv").write_text(
        "file,subject,prompt\nx.png,cup,a [V] cup\n", encoding="utf-8-sig"
    )
    (found,) = find_pictures_to_score(tmp_path / "listed")
    assert (found.subject, found.prompt) == ("cup", "a cup")
    assert without_identifier("a  [V] dog, [W]!") == "a dog!"
    assert without_identifier("a [V] toy dog and [V]", "toy dog") == "a toy dog and toy dog"


def test_what_is_unknown_is_asked_for(tmp_path):
    photo(tmp_path / "a" / "plain.png", 1)
    with pytest.raises(PicturesError, match="subject unknown"):
        find_pictures_to_score(tmp_path / "a")
    with pytest.raises(PicturesError, match="prompt unknown"):
        find_pictures_to_score(tmp_path / "a", subject="cup")
    graph = PngInfo()
    graph.add_text("prompt", '{"1": {"class_type": "SaveImage"}}')  # ComfyUI's, not a sentence
    photo(tmp_path / "b" / "cup" / "x.png", 1, pnginfo=graph)
    with pytest.raises(PicturesError, match="prompt unknown"):
        find_pictures_to_score(tmp_path / "b")
    (tmp_path / "a" / "pictures.csv").write_text("file,subject,prompt\ngone.png,cup,a cup\n", encoding="utf-8")
    with pytest.raises(PicturesError, match="line 2: .*gone.png does not exist"):
        find_pictures_to_score(tmp_path / "a")
    with pytest.raises(PicturesError, match="no folder"):
        find_pictures_to_score(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PicturesError, match="holds no pictures"):
        find_pictures_to_score(tmp_path / "empty")


# ---------------------------------------------------------------- everything together


def test_a_subjects_scores_and_their_report(encoders):
    def image(seed):
        return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8))

    photos, images = [image(i) for i in range(3)], [image(0), image(7), image(8)]
    prompts = ["a cup at home", "a cup at home", "a green cup"]
    kinds = {"a cup at home": PLACE, "a green cup": PROPERTY}
    scored = score_subject(
        encoders, "cup", images, prompts, photos, capability=kinds.__getitem__, class_images=[image(20)]
    )
    dino, _ = encoders.embed_images(photos)
    assert scored.pictures[0].copied and math.isclose(scored.pictures[0].nearest_photo, 1, abs_tol=1e-5)
    at_home, again, green = (picture.values[0] for picture in scored.pictures)
    assert math.isclose(scored.mean("DINO"), ((at_home + again) / 2 + green) / 2)  # a prompt counts once
    assert math.isclose(scored.mean("CLIP-T", PROPERTY), scored.pictures[2].values[2])
    assert math.isclose(scored.real["DINO"], real_images(dino), abs_tol=1e-6) and not math.isnan(scored.prior)
    rows = score_table([scored], "ours")
    assert [row.title for row in rows] == [
        "real images (different photos of a subject)",
        "ours",
        f"ours: {PROPERTY}",
        f"ours: {PLACE}",
    ]
    text = scores_as_markdown([scored], rows, encoders.names)
    assert (
        "published: two-stage, Lumina-mGPT (stated in arXiv 2504.13162) | 0.671" in text
        and "raw cosines" in text.lower()
        and "dino@" in text
    )
    whole = scores_as_json([scored], rows, protocol_of(encoders, [scored]))
    assert whole["subjects"]["cup"]["pictures"][0]["prompt"] == "a cup at home" and whole["scale"] == "raw cosine"
    drawn = score_sheet(scored, photos, lambda picture: images[int(picture.file)])
    assert drawn.width > 600 and len(drawn.getcolors(1 << 24)) > 50
    with pytest.raises(ValueError, match="each picture needs a prompt"):
        score_subject(encoders, "cup", images, prompts[:2], photos)


def test_the_command(data, folders, tmp_path, capsys):
    for number, prompt in enumerate(("a_cup_at_home", "a_green_cup")):
        photo(tmp_path / "made" / "cup" / f"{prompt}__{number}.png", 30 + number)
    photo(tmp_path / "made" / "dog9" / "a_dog_wearing_a_bell__0.png", 40)
    options = [
        "score",
        "--images",
        str(tmp_path / "made"),
        *own(folders),
    ]
    out = tmp_path / "out"
    assert cli.main([*options, "--data", str(data), "--out", str(out), "--method", "ours"]) == 0
    assert "2 subject(s), 3 pictures" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "cup.png",
        "dog9.png",
        "scores.csv",
        "scores.json",
        "scores.md",
    ]
    rows = list(csv.DictReader((out / "scores.csv").open(encoding="utf-8")))
    assert [row["capability"] for row in rows] == [PLACE, PROPERTY, ACCESSORY]
    found = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    mean = np.mean([np.mean([float(r["own-ID"]) for r in rows if r["subject"] == s]) for s in ("cup", "dog9")])
    assert math.isclose(found["table"][1]["own-ID"][0], mean, abs_tol=1e-9)  # over subjects, not over pictures

    single = [
        *options[:2],
        str(tmp_path / "made" / "cup"),
        *options[3:],
        "--photos",
        str(data / "dataset" / "cup"),
        "--out",
        str(out),
    ]
    assert cli.main(single) == 0
    assert cli.main(options) == 1 and "either --data" in capsys.readouterr().err
    assert cli.main([*options, "--data", str(tmp_path / "none")]) == 1 and "is missing" in capsys.readouterr().err


# ---------------------------------------------------------------- the whole benchmark


def bench(data, out, *more) -> list[str]:
    fixed = [
        "--embedding-steps",
        "1",
        "--layer-steps",
        "1",
        "--deep-steps",
        "1",
        "--dual-prior-images",
        "1",
        "--strategies",
        "two_stage,embedding_only",
        "--threads",
        "1",
    ]
    return ["dreambench", "--data", str(data), "--out", str(out), *fixed, *more]


def pixels(out) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): Image.open(path).tobytes() for path in sorted(out.glob("*_*/*/*.png"))}


def test_the_benchmark_shares_stage_one_scores_and_goes_on(data, folders, tmp_path, capsys, monkeypatch):
    from ar_core.training.loop import Loop

    steps = []
    original = Loop._gradients
    monkeypatch.setattr(Loop, "_gradients", lambda self: (steps.append(1), original(self))[1])
    out, encoders = tmp_path / "out", own(folders)
    assert cli.main(bench(data, out, "--dry-run")) == 0
    said = capsys.readouterr().out
    assert (
        ": 4 units (one training each, or none for the base), 8 pictures; 0 units are finished" in said
        and "disk: about" in said
        and not out.exists()
    )
    assert cli.main(bench(data, out, *encoders)) == 0
    assert len(steps) == 4  # each subject: stage 1 once, stage 2 once
    assert len(pixels(out)) == 8 and (out / "scores" / "two_stage" / "scores.md").is_file()
    assert Image.open(out / "two_stage" / "dog9" / "01_0_00.png").info["prompt"] == "a [V] dog wearing a bell"
    before = pixels(out)
    (out / "embedding_only" / "cup" / "unit-0.json").unlink()  # as if stopped in the middle
    capsys.readouterr()
    assert cli.main(bench(data, out, "--no-scores")) == 0
    assert capsys.readouterr().out.count("finished before") == 3 and len(steps) == 4 and pixels(out) == before
    assert (
        cli.main(bench(data, out, "--no-scores", "--seeds", "0", "--images-per-prompt", "2")) == 1
        and "other settings" in capsys.readouterr().err
    )


def test_a_benchmark_of_best_steps_says_so_and_is_another_one(data, folders, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--strategies", "embedding_only", "--subjects", "cup", *own(folders)]
    assert cli.main(bench(data, out, *options, "--select", "best")) == 0
    said = capsys.readouterr().out
    assert "embedding_only, selected by the reported measure" in said
    assert "Note: every training's step was selected by the reported measure" in said
    record = json.loads((out / "embedding_only" / "cup" / "unit-0.json").read_text(encoding="utf-8"))
    assert record["asked"]["selected"]["by"] == "best"
    assert cli.main(bench(data, out, *options, "--select", "best", "--no-scores")) == 0
    assert "finished before" in capsys.readouterr().out
    assert cli.main(bench(data, out, *options, "--no-scores")) == 1
    assert "(changed: selected)" in capsys.readouterr().err
    assert cli.main(bench(data, tmp_path / "none", *options, "--select", "3")) == 1
    assert "Step 3 cannot be handed on" in capsys.readouterr().err


def test_other_photos_or_views_are_another_benchmark(data, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--no-scores", "--strategies", "embedding_only", "--subjects", "cup"]
    assert cli.main(bench(data, out, *options)) == 0
    assert cli.main(bench(data, out, *options, "--recipe", "paper")) == 1  # the paper makes no views
    assert "(changed: training, photos, sampling)" in capsys.readouterr().err
    (data / "dataset" / "cup" / "00.jpg").rename(data / "dataset" / "cup" / "0.jpg")
    assert cli.main(bench(data, out, *options)) == 0 and "finished before" in capsys.readouterr().out  # same pictures
    photo(data / "dataset" / "cup" / "0.jpg", 99)
    assert cli.main(bench(data, out, *options)) == 1
    assert "(changed: photos)" in capsys.readouterr().err
    prompts = data / "dataset" / "prompts_and_classes.txt"
    prompts.write_text(FILE.replace("cup,cup", "cup,mug"), encoding="utf-8")
    assert cli.main(bench(data, out, *options)) == 1
    assert "(changed: photos, class)" in capsys.readouterr().err
    prompts.write_text(FILE, encoding="utf-8")

    record = out / "embedding_only" / "cup" / "unit-0.json"  # as an earlier version wrote it, without the photos
    found = json.loads(record.read_text(encoding="utf-8"))
    del found["asked"]["photos"], found["asked"]["class"]
    record.write_text(json.dumps(found), encoding="utf-8")
    assert cli.main(bench(data, out, *options)) == 0 and "finished before" in capsys.readouterr().out


def test_a_unit_of_an_earlier_version_had_the_views_of_the_familys_own_recipe(data, tmp_path):
    model = ARModel.load()
    subjects = choose_suite(data).read()
    plan = Plan(("embedding_only", "base"))
    bench = Benchmark(model, subjects, plan, tmp_path)
    learned, base = bench.units([subjects.subject("cup")])
    for unit in (learned, base):
        bench._record(unit, "", 1.0)
        record = json.loads(bench._record_path(unit).read_text(encoding="utf-8"))
        del record["asked"]["photos"], record["asked"]["class"]
        bench._record_path(unit).write_text(json.dumps(record), encoding="utf-8")
        assert bench.finished(unit) == record
    recipe = replace(model.family.recipe, views=model.family.recipe.views + 1)
    other = Benchmark(replace(model, family=replace(model.family, recipe=recipe)), subjects, plan, tmp_path)
    with pytest.raises(OtherPlan, match=r"\(changed: photos\)"):
        other.finished(learned)
    assert other.finished(base)  # photos decide nothing of what it draws


def test_photos_are_read_once_for_all_records_of_a_subject(data, tmp_path, monkeypatch):
    subjects = choose_suite(data).read()
    read = []
    original = benchmark.read_photos
    monkeypatch.setattr(benchmark, "read_photos", lambda files: (read.append(files), original(files))[1])
    bench = Benchmark(ARModel.load(), subjects, Plan(("two_stage", "joint"), seeds=(0, 1)), tmp_path)
    units = bench.units([subjects.subject("cup")])
    before = [bench._asked(unit)["photos"] for unit in units]
    assert len(read) == 1 and len(set(before)) == 1
    photo(data / "dataset" / "cup" / "00.jpg", 99, (70, 70))
    assert bench._asked(units[0])["photos"] != before[0] and len(read) == 2


def test_an_own_folder_says_what_is_live_in_it(data):
    assert [subject.live for subject in choose_suite(data, ["cup"]).read().subjects] == [True, False]
    assert not choose_suite(data, []).read().problems  # any number of subjects and prompts is right
    assert len(choose_suite(data).read().problems) == 3  # DreamBench has 30 and twice 25
    assert choose_suite(example_subjects()) == choose_suite("miniature")


def test_an_own_folder_needs_only_the_prompts_that_it_uses(data):
    prompts = data / "dataset" / "prompts_and_classes.txt"
    prompts.write_text(FILE.partition("Live Subject Prompts")[0], encoding="utf-8")
    assert len(choose_suite(data, []).read().object_prompts) == 2
    with pytest.raises(DataSetError, match="no prompts for it .* Lay it out like"):
        choose_suite(data, ["dog"]).read()


def test_a_subject_that_fails_is_reported_and_the_others_go_on(data, tmp_path, capsys, monkeypatch):

    original = Benchmark._do
    broken = lambda self, unit: 1 / 0 if unit.subject.name == "cup" else original(self, unit)  # noqa: E731
    monkeypatch.setattr(Benchmark, "_do", broken)
    assert cli.main(bench(data, tmp_path / "out", "--no-scores", "--strategies", "embedding_only")) == 1
    said = capsys.readouterr()
    assert "FAILED cup, embedding_only, seed 0: ZeroDivisionError" in said.out
    assert "1 of this process's units failed" in said.err
    monkeypatch.setattr(Benchmark, "_do", original)
    assert (
        cli.main(bench(data, tmp_path / "out", "--no-scores", "--strategies", "embedding_only")) == 0
    )  # a failed unit is tried again
    assert len(pixels(tmp_path / "out")) == 4


def test_every_variant_uses_what_it_says(data, tmp_path, monkeypatch):
    from ar_core.dreambench.variants import VARIANTS

    used = {}
    monkeypatch.setattr(
        Benchmark, "_sample", lambda self, model, prompts, unit: used.update({unit.variant: (model, prompts)})
    )
    assert (
        cli.main(bench(data, tmp_path / "out", "--strategies", ",".join(VARIANTS), "--subjects", "dog9", "--no-scores"))
        == 0
    )
    layers = {variant for variant, (model, _) in used.items() if any(a.personalization.adapter for a in model.applied)}
    deep = {"deep", "deep_image", "deep_image_casr", "deep_image_dpp", "deep_image_both"}
    frozen = {"embedding_only", "soft_tokens", *deep, "joint_reverted", "base"}
    assert set(VARIANTS) - layers == frozen
    assert used["base"][1] == ["a dog at home", "a dog wearing a bell"] and not used["base"][0].applied
    vector = lambda variant: used[variant][0].applied[0].personalization.vectors  # noqa: E731
    assert torch.equal(vector("joint"), vector("joint_reverted")) and torch.equal(
        vector("two_stage"), vector("embedding_only")
    )
    stage = lambda variant: used[variant][0].applied[0].personalization.recipe["stage"]  # noqa: E731
    assert [stage(variant) for variant in ("two_stage", "embedding_only", "joint_reverted")] == [
        "layers",
        "embedding",
        "joint",
    ]
    assert used["joint_long"][0].applied[0].personalization.recipe["steps"] == 2  # one and one


def test_pictures_of_all_seeds_are_scored_together(data, folders, tmp_path):
    options = ["--strategies", "base,embedding_only", "--seeds", "0,3", "--subjects", "dog9"]
    encoders = own(folders)
    assert cli.main(bench(data, tmp_path / "out", *options, *encoders)) == 0
    assert {path.name[:4] for path in (tmp_path / "out" / "base" / "dog9").glob("*.png")} == {
        "00_0",
        "00_3",
        "01_0",
        "01_3",
    }
    text = (tmp_path / "out" / "scores" / "comparison.md").read_text(encoding="utf-8")
    assert "1 subject(s), 4 pictures" in text and "| base minus … |" in text and text.count("| embedding_only |") == 2


def test_scores_are_of_the_plan_and_of_units_that_are_done(data, folders, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    encoders = own(folders)
    assert cli.main(bench(data, out, "--no-scores", "--strategies", "base", "--seeds", "0,3")) == 0
    assert cli.main(bench(data, out, *encoders, "--strategies", "base", "--subjects", "dog9")) == 0
    text = (out / "scores" / "comparison.md").read_text(encoding="utf-8")
    assert "1 subject(s), 2 pictures" in text  # neither the other subject nor the other seed
    monkeypatch.setattr(Benchmark, "_do", lambda self, unit: 1 / 0)
    options = ["--strategies", "base,embedding_only", "--subjects", "dog9"]
    assert cli.main(bench(data, out, *encoders, *options)) == 1
    said = capsys.readouterr().out
    assert "FAILED dog9, embedding_only" in said and "embedding_only is left out of the scores" in said


def test_what_failed_is_named_and_left_out_of_every_comparison(data, folders, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    options = ["--strategies", "base,two_stage", "--seeds", "0,3"]
    encoders = own(folders)
    do = Benchmark._do

    def fails(self, unit):
        if (unit.variant, unit.subject.name, unit.seed) == ("two_stage", "cup", 3):
            raise RuntimeError("no luck")
        do(self, unit)

    monkeypatch.setattr(Benchmark, "_do", fails)
    assert cli.main(bench(data, out, *encoders, *options, "--against", "two_stage")) == 1
    said = capsys.readouterr().out
    assert "Note: 1 of 8 units are not done and not in the scores: cup, two_stage, seed 3." in said
    assert "2 picture(s) of base are not compared: another method lacks their prompt or seed" in said
    assert "Named in advance: base − two_stage, own-ID. It cannot be tested: 2 subject(s) have both numbers." in said


def test_what_was_named_in_advance_is_never_exchanged_for_what_came_out(data, folders, tmp_path, capsys, monkeypatch):
    encoders = own(folders)
    do = Benchmark._do
    monkeypatch.setattr(
        Benchmark, "_do", lambda self, unit: do(self, unit) if unit.variant != "embedding_only" else 1 / 0
    )
    options = ["--strategies", "base,embedding_only,two_stage", "--subjects", "cup"]
    assert cli.main(bench(data, tmp_path / "out", *encoders, *options)) == 1
    said = capsys.readouterr().out
    assert "the comparison that was named in advance (base − embedding_only, own-ID) cannot be made" in said
    assert "tested by itself" not in said


def test_another_extent_is_another_plan(data, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--no-scores", "--strategies", "base", "--subjects", "cup"]
    assert cli.main(bench(data, out, *options)) == 0
    assert cli.main(bench(data, out, *options, "--images-per-prompt", "2")) == 1
    assert "holds results of other settings" in capsys.readouterr().err
    assert len(list(out.glob("settings*"))) == 1  # of what lies there


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_too_little_memory_is_said_before_anything_is_trained(data, tmp_path, capsys, monkeypatch, more):
    from ar_core.training.loop import Loop

    for module in ("batches", "dreambench.estimate"):
        monkeypatch.setattr(f"ar_core.{module}.room", lambda device: 10_000_000)
    monkeypatch.setattr(Loop, "_gradients", lambda self: pytest.fail("trained"))
    assert cli.main(bench(data, tmp_path / "out", "--no-scores", *more)) == 1
    said = capsys.readouterr().err
    assert "Training needs" in said and "9.5 MiB are free on cpu. Choose --precision int8 or 4-bit" in said
    assert not (tmp_path / "out").exists()


def test_the_dry_run_counts_the_pictures_that_choose_the_best_steps(data, folders, tmp_path, capsys):
    strategies = ["--strategies", "joint,joint_reverted,base", "--layer-steps", "40", "--select", "best"]
    assert cli.main(bench(data, tmp_path / "out", *own(folders), *strategies, "--dry-run")) == 0
    # Of two subjects learned by `joint`: the base and steps 20 and 40, five prompts each.
    assert "12 pictures and up to 30 more to choose the best steps; 0 units" in capsys.readouterr().out


def test_the_dry_run_says_how_many_pictures_fit_at_a_time(data, tmp_path, capsys, monkeypatch):
    recipe = MINIATURE.recipe
    free = drawing_bytes(ARModel.load(), recipe.size, 2, recipe.cfg, previews=False)
    for module in ("batches", "dreambench.estimate"):
        monkeypatch.setattr(f"ar_core.{module}.room", lambda device: free)
    assert cli.main(bench(data, tmp_path / "out", "--dry-run", "--strategies", "base")) == 0
    assert "and drawing 2 pictures at a time" in capsys.readouterr().out


def test_a_plan_that_cannot_be_meant_is_refused(data, tmp_path, capsys):
    for more, said in (
        (["--strategies", "two"], 'no strategy "two". Choose from: two_stage'),
        (["--seeds", "x"], '--seeds has "x"'),
        (["--images-per-prompt", "0"], "must be at least 1"),
        (["--strategies", "deep_image", "--context-weight", "-1"], "context_weight is -1.0; it must be a number of 0"),
        (["--strategies", "two_stage", "--dual-prior-weight", "nan"], "dual_prior_weight is nan"),
        (["--strategies", "base,deep_two_stage", "--depth", "9"], "depth is 9, and this model has 6 layers"),
        (["--subjects", "cup,dog9,cup"], '--subjects names "cup" twice; name each once.'),
    ):
        assert cli.main(bench(data, tmp_path / "out", "--dry-run", *more)) == 1 and said in capsys.readouterr().err


@pytest.mark.parametrize(
    "given, said",
    [
        ("deep_image_casr,deep_image --context-weight 0", "strategies: deep_image_casr has context_weight 0.005."),
        ("deep --dual-prior-weight 1", "strategies: deep has dual_prior_weight 0.0."),
        ("deep_image,two_stage --no-image-concept", "strategies: deep_image has image_concept True."),
        ("soft_tokens,base --vectors 2", "strategies: soft_tokens has vectors 17."),
        ("deep_two_stage,base --image-concept --context-weight 0.1", ""),
        ("deep_image_casr,two_stage", ""),
    ],
)
def test_what_a_strategy_has_otherwise_than_was_given_is_said(given, said, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(bench(data, out, "--dry-run", "--no-scores", "--strategies", *given.split())) == 0
    shown = capsys.readouterr().out
    assert said in shown and ("not for all strategies" in shown) == bool(said)


def test_several_processes_without_accelerate_say_what_to_install(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert cli.main(bench(data, tmp_path / "out", "--no-scores")) == 1
    assert "pip install accelerate" in capsys.readouterr().err


def test_two_processes_share_the_work_and_give_the_same_pictures_as_one(data, tmp_path):
    pytest.importorskip("accelerate", reason="pip install accelerate to run the multi-process test")
    import os
    import subprocess
    from pathlib import Path

    options = ["--no-scores", "--strategies", "embedding_only"]
    assert cli.main(bench(data, tmp_path / "one", *options)) == 0
    # without a graphics card `accelerate launch` starts one process whatever is asked; torch's own launcher starts two
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "-m",
        "ar_core",
        *bench(data, tmp_path / "two", *options),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=Path(cli.__file__).parents[1], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[1/1] cup," in done.stdout and "[1/1] dog9," in done.stdout  # each did one subject
    assert pixels(tmp_path / "one") == pixels(tmp_path / "two") and len(pixels(tmp_path / "two")) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"asked": 3, "failed": ""}', '{"asked": {}}'])
def test_a_damaged_record_counts_as_not_done(content, data, tmp_path, caplog):
    subjects = choose_suite(data).read()
    bench = Benchmark(ARModel.load(), subjects, Plan(("base",)), tmp_path)
    unit = bench.units(subjects.subjects)[0]
    before = bench.unfinished()
    bench._record(unit, "", 1.0)
    for path in bench._picture_paths(unit):
        photo(path, 1)
    assert bench.unfinished() == before - 1
    bench._record_path(unit).write_text(content, encoding="utf-8")
    assert bench.unfinished() == before and bench.finished(unit) is None
    assert "is drawn again" in caplog.text


def test_a_misspelt_live_class_is_reported(data):
    problems = choose_suite(data, ["dgo"]).read().problems
    assert [line for line in problems if 'no subject is of the class "dgo", which is called live' in line]


def test_a_strategy_or_seed_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match='--seeds names "0" twice'):
        Plan(("base",), seeds=(0, 1, 0))
    with pytest.raises(ValueError, match='--strategies names "base" twice'):
        Plan(("base", "base"))


def gone(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [gone, cut, flipped])
def test_a_unit_that_lost_a_picture_is_drawn_again(damage, data, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--no-scores", "--strategies", "base"]
    assert cli.main(bench(data, out, *options)) == 0
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    damage(out / "base" / "cup" / "01_0_00.png")
    assert cli.main(bench(data, out, *options, "--dry-run")) == 0
    assert "1 units are finished" in capsys.readouterr().out
    assert cli.main(bench(data, out, *options)) == 0
    assert capsys.readouterr().out.count("finished before") == 1
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before
