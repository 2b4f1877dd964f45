"""Measures beside the protocol's: each by hand, and all of them through the command into every kind of report."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import publish, write_dinov2, write_encoders, write_vit

from ar_core import cli
from ar_core.commands import scoring
from ar_core.commands.scoring import protocol_of
from ar_core.dreambench.architectures import CLIP, VIT
from ar_core.dreambench.encoders import MINIATURE_ENCODERS, PAPER_ENCODERS, EncoderError, Encoders
from ar_core.dreambench.measures import registry
from ar_core.dreambench.measures.dinov2 import DINOV2, ENCODER
from ar_core.dreambench.measures.gallery import GALLERY, first_in_gallery
from ar_core.dreambench.measures.measure import Evidence, SubjectMeasure
from ar_core.dreambench.measures.registry import OPTIONAL, choose_measures
from ar_core.dreambench.over_subjects import score_table
from ar_core.dreambench.report import scores_as_csv, scores_as_json, scores_as_markdown
from ar_core.dreambench.scoring import score_subject
from ar_core.dreambench.sheet import score_lines
from ar_core.dreambench.suites import choose_suite
from ar_core.shipped import example_subjects

COUNTED = SubjectMeasure("count", "how many", "nobody", compute=lambda seen: float(len(seen.prompts)))
UNKNOWN = SubjectMeasure("unknown", "of nothing", "nobody", compute=lambda seen: float("nan"))


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def image(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def encoders():
    return Encoders.load(MINIATURE_ENCODERS)


def scored(encoders, *measures, **more):
    pictures = [image(5), image(6)]
    photos = [image(0), image(1)]
    return score_subject(encoders, "cup", pictures, ["a cup", "a red cup"], photos, measures=measures, **more)


# ---------------------------------------------------------------- by hand


def test_a_picture_is_first_in_the_gallery_where_its_own_subject_is_the_nearest_of_all():
    own = unit([1, 0], [1, 0.1])
    others = [unit([0, 1]), unit([1, 1], [-1, 0])]
    found = first_in_gallery(unit([1, 0], [0, 1], [1, 0.9]), own, others)
    assert found.tolist() == [1, 0, 1]


def test_a_picture_that_is_as_near_to_another_subject_is_not_first():
    assert first_in_gallery(unit([1, 1]), unit([1, 0]), [unit([1, 0])]).tolist() == [0]


def test_without_other_subjects_there_is_no_gallery():
    assert all(math.isnan(value) for value in first_in_gallery(unit([1, 0]), unit([1, 0]), []).tolist())


def test_dinov2_compares_with_all_photos_and_has_a_bound():
    seen = Evidence([], unit([1]), {"dinov2": unit([1, 0])}, {"dinov2": unit([1, 0], [0, 1])})
    assert DINOV2.compute(seen).tolist() == [0.5] and DINOV2.real(seen) == 0


def test_every_measure_says_its_column_and_who_proposed_it():
    assert all(measure.name == name and measure.title and measure.citation for name, measure in OPTIONAL.items())
    assert len({measure.title for measure in OPTIONAL.values()}) == len(OPTIONAL)


# ---------------------------------------------------------------- choosing


def test_measures_are_chosen_by_name_once_each_and_none_by_default():
    assert choose_measures("") == ()
    assert choose_measures("gallery, dinov2,gallery") == (GALLERY, DINOV2)
    with pytest.raises(ValueError, match='--measures has "fid". Choose from: dinov2, gallery.'):
        choose_measures("dinov2,fid")


def test_a_report_without_chosen_measures_has_the_columns_it_always_had(encoders):
    found = scored(encoders)
    assert found.measures == ("mini-ID", "mini-CLIP-I", "mini-CLIP-T") and found.whole == {}
    header = scores_as_csv([found], "ours").splitlines()[0]
    assert header == ("subject,prompt,file,capability,mini-ID,mini-CLIP-I,mini-CLIP-T,nearest_photo,copied,method,seed")
    fields = scores_as_json([found], score_table([found]), protocol_of(encoders, [found]))["subjects"]["cup"]
    assert [*fields] == [
        "measures", "whole", *found.measures, "real images", "copies", "diversity", "prior preservation", "pictures"
    ]  # fmt: skip
    text = scores_as_markdown([found], score_table([found]), encoders.names)
    assert "| subject | mini-ID | mini-CLIP-I | mini-CLIP-T | copies suspected | diversity |" in text


def test_a_measure_of_the_whole_subject_stands_in_the_tables_and_not_beside_pictures(encoders):
    found = scored(encoders, COUNTED)
    assert found.mean("how many") == 2 and math.isnan(found.mean("how many", "of one kind"))
    text = scores_as_markdown([found], score_table([found]), encoders.names)
    assert "| mini-CLIP-T | how many | copies" in text and "2.000 (–)" in text
    fields = scores_as_json([found], score_table([found]), protocol_of(encoders, [found]))["subjects"]["cup"]
    assert fields["how many"] == 2 and "how many" not in fields["pictures"][0]
    assert "how many" not in scores_as_csv([found], "ours").splitlines()[0]


def test_a_number_that_cannot_be_computed_is_a_dash_in_tables_and_null_in_json(encoders):
    found = scored(encoders, GALLERY, UNKNOWN)  # no other subjects
    text = scores_as_markdown([found], score_table([found]), encoders.names)
    assert "nan" not in text and text.splitlines()[-1].count("| – ") == 3  # with the diversity of single pictures
    fields = scores_as_json([found], score_table([found]), protocol_of(encoders, [found]))["subjects"]["cup"]
    assert fields["first in gallery"] is None and fields["of nothing"] is None
    assert fields["pictures"][0]["first in gallery"] is None


def test_the_sheet_shows_a_hyphen_for_a_number_that_does_not_exist(encoders):
    found = scored(encoders, GALLERY)
    assert " ".join(score_lines(found.pictures[0])).endswith("| -")


def test_published_numbers_stay_beside_more_measures_of_ours(tmp_path):
    write_encoders(tmp_path)
    choice = replace(PAPER_ENCODERS, vit=tmp_path / "dino", clip=tmp_path / "clip", vit_needs=VIT, clip_needs=CLIP)
    loaded = Encoders.load(choice)
    found = scored(loaded, COUNTED)
    text = scores_as_markdown([found], score_table([found]), loaded.names)
    line = next(line for line in text.splitlines() if "published: two-stage, Lumina-mGPT (" in line)
    assert line.endswith("| 0.671 | 0.785 | 0.314 | – |")
    assert scores_as_json([found], score_table([found]), protocol_of(loaded, [found]))["published"]


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more") / "dinov2-small"
    write_dinov2(folder)
    return folder


def test_chosen_measures_stand_in_every_report(dinov2, tmp_path, capsys):
    for name in ("lilac_dog", "purple_mug"):
        for number, path in enumerate(sorted((example_subjects() / name).glob("*.*"))[:2]):
            folder = tmp_path / "made" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(folder / f"a_{name}__{number}.png")
    out = tmp_path / "out"
    command = ["score", "--images", str(tmp_path / "made"), "--data", "miniature", "--out", str(out)]
    assert cli.main([*command, "--measures", "dinov2,gallery", "--dinov2", str(dinov2)]) == 0
    said = capsys.readouterr().out
    assert "| DINOv2 | first in gallery |" in said and "dinov2 dinov2-small@weights " in said
    rows = list(csv.DictReader((out / "scores.csv").open(encoding="utf-8")))
    assert [float(row["first in gallery"]) for row in rows] == [1] * 4  # photos of their own subjects
    assert all(0 < float(row["DINOv2"]) <= 1.0001 for row in rows)
    found = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert found["table"][1]["first in gallery"] == [1, None, None]  # two subjects have no interval
    assert 0 < found["subjects"]["lilac_dog"]["real images"]["DINOv2"] <= 1


def test_dinov2_takes_the_cls_output_that_transformers_gives(dinov2):
    from transformers import Dinov2Model

    pictures = [image(3), image(4)]
    loaded = Encoders.load(MINIATURE_ENCODERS, more=[replace(ENCODER, source=dinov2)])
    with torch.no_grad():
        theirs = Dinov2Model.from_pretrained(dinov2).eval()(pixel_values=ENCODER.input(pictures)).last_hidden_state
    expected = torch.nn.functional.normalize(theirs[:, 0], dim=-1)
    assert torch.allclose(loaded.embed(pictures)["dinov2"], expected, atol=1e-5)


def test_another_network_is_not_called_dinov2(tmp_path):
    write_vit(tmp_path / "vit")
    publish(tmp_path / "vit")
    with pytest.raises(EncoderError, match='the type "vit", and "dinov2" is needed here: give facebook/dinov2-small'):
        Encoders.load(MINIATURE_ENCODERS, more=[replace(ENCODER, source=tmp_path / "vit")])


def test_a_missing_encoder_of_a_measure_is_said_before_anything_is_scored(tmp_path, capsys):
    command = ["dreambench", "--data", "miniature", "--dry-run", "--measures", "dinov2", "--dinov2"]
    assert cli.main([*command, str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 0
    assert "missing: The encoder" in capsys.readouterr().out


def test_other_subjects_are_looked_at_only_for_measures_that_need_them(encoders):
    data = choose_suite("miniature").read()
    assert scoring.gallery(encoders, data, [COUNTED]) == {}
    assert scoring.gallery(encoders, example_subjects() / "lilac_dog", [GALLERY]) == {}
    assert [*scoring.gallery(encoders, data, [GALLERY])] == [subject.name for subject in data.subjects]


def test_a_measure_is_one_file_and_a_line_of_the_registry(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.OPTIONAL, "count", COUNTED)
    folder = tmp_path / "made"
    folder.mkdir()
    image(1).save(folder / "a_dog__0.png")
    command = ["score", "--images", str(folder), "--photos", str(example_subjects() / "lilac_dog")]
    options = ["--encoders", "miniature", "--measures", "count", "--out", str(tmp_path / "out")]
    assert cli.main([*command, *options]) == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert found["subjects"]["lilac_dog"]["how many"] == 1 and found["table"][1]["how many"] == [1, None, None]
