"""Which prompt and subject a picture is taken for, in every layout of names; what cannot be read names its file."""

from __future__ import annotations

import csv
import json
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from ar_core import cli
from ar_core.dreambench.pictures import Picture, PicturesError, find_pictures_to_score
from ar_core.files import UnreadableFile, read_json, read_text
from ar_core.shipped import example_subjects


def put(path, **info):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (70, 70), "teal").save(path, **info)
    return path


def found(folder, subject=""):
    (picture,) = find_pictures_to_score(folder, subject=subject)
    return picture.subject, picture.prompt


@pytest.mark.parametrize(
    "name, subject, expected",
    [
        # no subject is known: the name begins with it
        ("dog__a_dog_in_the_jungle__0", "", ("dog", "a dog in the jungle")),
        ("lilac_dog__a_dog__euler_a", "", ("lilac_dog", "a dog")),
        # photos of one subject are given: the name may repeat it
        ("dog__a_dog_in_the_jungle__0", "dog", ("dog", "a dog in the jungle")),
        ("Lilac_Dog__a_dog_in_the_jungle__0", "lilac_dog", ("lilac_dog", "a dog in the jungle")),
        ("dog__a_dog_in_the_jungle__seed_7__0", "dog", ("dog", "a dog in the jungle")),
        # or leave it out
        ("a_dog_in_the_jungle__0", "dog", ("dog", "a dog in the jungle")),
        ("a_dog_in_the_jungle__seed_7__0", "dog", ("dog", "a dog in the jungle")),
        ("a_dog_in_the_jungle__euler", "dog", ("dog", "a dog in the jungle")),
        ("dog__0", "dog", ("dog", "dog")),
        ("dog__0__1", "dog", ("dog", "dog")),
    ],
)
def test_a_name_says_subject_and_prompt(name, subject, expected, tmp_path):
    put(tmp_path / f"{name}.png")
    assert found(tmp_path, subject) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("dog/a_dog_in_the_jungle__0", ("dog", "a dog in the jungle")),
        ("dog/dog__a_dog_in_the_jungle__0", ("dog", "a dog in the jungle")),
        ("dog/ours/a_dog__0", ("dog", "a dog")),
    ],
)
def test_a_subfolder_names_the_subject(name, expected, tmp_path):
    put(tmp_path / f"{name}.png")
    assert found(tmp_path) == expected


@pytest.mark.parametrize("name", ["run_1/dog__a_dog_at_home__0", "run_1/a_dog_at_home__0"])
def test_given_photos_name_the_subject_whatever_the_subfolder(name, tmp_path):
    put(tmp_path / f"{name}.png")
    assert found(tmp_path, "dog") == ("dog", "a dog at home")


@pytest.mark.parametrize(
    "name",
    [
        "dog__a_dog_in_the_jungle__0",  # of another name than the photos' folder
        "dog__a_dog_in_the_jungle",
        "photos__a_dog_in_the_jungle",
        "my_dog__a_dog_in_the_jungle",
    ],
)
def test_a_name_of_which_two_parts_may_be_the_prompt_is_refused(name, tmp_path):
    path = put(tmp_path / f"{name}.png")
    with pytest.raises(PicturesError) as refused:
        found(tmp_path, "photos")
    said = str(refused.value)
    assert said.startswith(f"{path}: the prompt may be ") and '"a dog in the jungle"' in said
    assert 'begin their names with the subject: "photos__a_dog_in_the_jungle__0.png".' in said


def test_another_subject_in_a_subfolders_names_is_refused(tmp_path):
    put(tmp_path / "cat" / "dog__a_dog_at_home__0.png")
    with pytest.raises(PicturesError, match='the prompt may be "dog" or "a dog at home", as the subject is "cat"'):
        found(tmp_path)


def test_a_prompt_inside_the_picture_comes_before_its_name(tmp_path):
    note = PngInfo()
    note.add_itxt("prompt", "a [V] dog at sea")
    put(tmp_path / "dog__a_dog_at_home__0.png", pnginfo=note)
    assert found(tmp_path) == ("dog", "a dog at sea") == found(tmp_path, "dog")


def test_the_commands_advice_on_names_is_right_beside_photos_too(tmp_path):
    prompts = []
    for number, name in enumerate(("lilac_dog__a_dog_on_grass__0", "a_dog_on_grass__0")):
        put(tmp_path / str(number) / f"{name}.png")
        out = tmp_path / f"out{number}"
        command = ["score", "--images", str(tmp_path / str(number)), "--photos", str(example_subjects() / "lilac_dog")]
        assert cli.main([*command, "--encoders", "miniature", "--out", str(out)]) == 0
        (row,) = csv.DictReader((out / "scores.csv").open(encoding="utf-8"))
        prompts.append((row["subject"], row["prompt"], row["mini-CLIP-T"]))
    assert prompts[0] == prompts[1] and prompts[0][:2] == ("lilac_dog", "a dog on grass")


def test_photos_in_this_very_folder_have_its_name(tmp_path, monkeypatch, capsys):
    put(tmp_path / "dog" / "0.png")
    put(tmp_path / "made" / "dog__a_dog__0.png")
    monkeypatch.chdir(tmp_path / "dog")
    command = ["score", "--images", str(tmp_path / "made"), "--photos", ".", "--encoders", "miniature"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "dog.png").is_file()


# ---------------------------------------------------------------- tables and seeds


def table(folder, text, encoding="utf-8"):
    put(folder / "x.png")
    put(folder / "y.png")
    (folder / "pictures.csv").write_bytes(text.encode(encoding))


def test_a_table_of_two_subjects_is_not_compared_with_photos_of_one(tmp_path):
    table(tmp_path, "file,subject,prompt\nx.png,dog,a dog\ny.png,cat,a cat\n")
    assert len(find_pictures_to_score(tmp_path)) == 2
    with pytest.raises(PicturesError, match='line 3: the subject "cat" is another than "dog" before'):
        find_pictures_to_score(tmp_path, subject="dog")


def test_seeds_come_from_a_table_or_from_our_own_pictures(tmp_path):
    table(tmp_path / "table", "file,subject,prompt,seed\nx.png,dog,a dog,7\ny.png,dog,a dog,\n")
    assert [picture.seed for picture in find_pictures_to_score(tmp_path / "table")] == [7, None]
    note = PngInfo()
    note.add_itxt("prompt", "a [V] dog")
    note.add_itxt("settings", json.dumps({"seed": 5}))
    put(tmp_path / "ours" / "dog" / "0.png", pnginfo=note)
    odd = PngInfo()
    odd.add_itxt("settings", "[1")
    put(tmp_path / "ours" / "dog" / "a_dog__1.png", pnginfo=odd)
    assert [picture.seed for picture in find_pictures_to_score(tmp_path / "ours")] == [5, None]


def test_the_csv_says_method_and_seed_of_every_picture(tmp_path):
    table(tmp_path / "made", "file,subject,prompt,seed\nx.png,dog,a dog,7\ny.png,dog,a dog,\n")
    photos = str(example_subjects() / "lilac_dog")
    command = ["score", "--images", str(tmp_path / "made"), "--photos", photos, "--encoders", "miniature"]
    assert cli.main([*command, "--method", "theirs", "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open(encoding="utf-8")))
    assert [(row["method"], row["seed"]) for row in rows] == [("theirs", "7"), ("theirs", "")]


@pytest.mark.parametrize("encoding, byte", [("latin-1", "0xfc"), ("utf-16", "0xff")])
def test_a_table_in_another_encoding_names_file_line_and_byte(encoding, byte, tmp_path):
    table(tmp_path, "file,subject,prompt\nx.png,dog,a dog\ny.png,dog,a grüner dog\n", encoding)
    line = {"latin-1": "line 3, byte 15", "utf-16": "line 1, byte 1"}[encoding]
    with pytest.raises(UnreadableFile, match=rf"pictures.csv is not text in UTF-8 \({line} of it is {byte}\)") as said:
        find_pictures_to_score(tmp_path)
    assert str(said.value).endswith("Save it as UTF-8.")


def test_json_in_another_encoding_is_named_once(tmp_path):
    (tmp_path / "unit-0.json").write_bytes('{"class": "grün"}'.encode("latin-1"))
    with pytest.raises(UnreadableFile) as said:
        read_json(tmp_path / "unit-0.json")
    assert str(said.value).count("unit-0.json") == 1 and "line 1, byte 14 of it is 0xfc" in str(said.value)


def test_a_text_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("grün", encoding="utf-8-sig")
    assert read_text(tmp_path / "a.txt") == "grün"


# ---------------------------------------------------------------- pictures that cannot be read


def png_of(path, side):
    """The beginning of a PNG of `side` x `side` pixels, of which none are there."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_a_picture_of_400_megapixels_is_refused_with_its_name(tmp_path):
    path = png_of(tmp_path / "a_dog__0.png", 20_000)
    with pytest.raises(PicturesError) as said:
        find_pictures_to_score(tmp_path, subject="dog")
    assert str(said.value) == f"{path} is too large (above 179 megapixels). Save it smaller."
    with pytest.raises(PicturesError, match="a_dog__0.png is too large"):
        Picture(path, "dog", "a dog").open()


def test_a_picture_of_100_megapixels_is_looked_at_without_a_warning(tmp_path):
    png_of(tmp_path / "a_dog__0.png", 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(tmp_path, "dog") == ("dog", "a dog")


def test_a_truncated_picture_is_named_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "made" / "a_dog__0.jpg"
    path.parent.mkdir()
    Image.effect_noise((300, 300), 90).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    photos = str(example_subjects() / "lilac_dog")
    command = ["score", "--images", str(path.parent), "--photos", photos, "--encoders", "miniature"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "a_dog__0.jpg is damaged or no picture (image file is truncated" in said and "Traceback" not in said


def test_a_truncated_photo_is_left_out_and_named(tmp_path, capsys):
    for number in (0, 1):
        put(tmp_path / "dog" / f"{number}.png")
    content = (tmp_path / "dog" / "1.png").read_bytes()
    (tmp_path / "dog" / "1.png").write_bytes(content[: len(content) // 2])
    put(tmp_path / "made" / "a_dog__0.png")
    photos = str(tmp_path / "dog")
    command = ["score", "--images", str(tmp_path / "made"), "--photos", photos, "--class-images", photos]
    assert cli.main([*command, "--encoders", "miniature", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count(f"note: {tmp_path / 'dog' / '1.png'}: skipped, damaged") == 2


def test_a_picture_is_opened_as_photos_are(tmp_path):
    """Else a picture that a phone turned, or one of 16 bits, would be unlike its own photo."""
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(Picture(tmp_path / "turned.png", "a", "b").open()), np.asarray(upright))
    grey = Image.fromarray(np.full((20, 20), 32768, np.uint16))
    grey.save(tmp_path / "grey.png")
    assert Picture(tmp_path / "grey.png", "a", "b").open().getpixel((3, 3)) == (128, 128, 128)
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert Picture(tmp_path / "clear.png", "a", "b").open().getpixel((3, 3)) == (255, 255, 255)


def test_pictures_in_another_subjects_folder_are_not_this_ones(tmp_path):
    for name in ("cat", "dog"):
        put(tmp_path / "made" / name / "a_dog__0.png")
    with pytest.raises(PicturesError, match='lies beside the folder of "dog"'):
        find_pictures_to_score(tmp_path / "made", subject="dog")


@pytest.mark.parametrize(
    "table, said",
    [
        ("file,subject,prompt\na.png,dog,[V]\n", "line 2: subject or prompt is empty"),
        ("file,subject,prompt\na.png,dog,a dog\na.png,dog,a dog\n", "line 3: the file .* stands there a second time"),
        ("file,file,subject,prompt\na.png,a.png,dog,a dog\n", "has two columns 'file'"),
    ],
)
def test_a_table_that_would_count_wrongly_is_refused(table, said, tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "pictures.csv").write_text(table, encoding="utf-8")
    with pytest.raises(PicturesError, match=said):
        find_pictures_to_score(tmp_path)
