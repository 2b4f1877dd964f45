"""What lies beside a photo: its mask, its caption and its shape, from the files to the loss."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch.nn import functional as F
from toy import FAMILY, SIZE, toy_model, toy_subject

from ar_core import cli
from ar_core.captions import add_captions
from ar_core.described_photos import read_described_photos
from ar_core.dreambench.dataset import read_dataset
from ar_core.families.lumina_mgpt import LUMINA_768
from ar_core.families.protocol import LONGEST_PROMPT
from ar_core.families.recipes import for_artists
from ar_core.files import UnreadableFile
from ar_core.masks import ALPHA, FILES, OFF, add_masks, add_tensor_masks, crop_with_mask
from ar_core.photos import Photo, PhotoError, photo_views, read_photos, stack
from ar_core.text import NEUTRAL_TEMPLATES, Identifier, TextError
from ar_core.training import TrainingSettings, personalize, prepare_subject
from ar_core.training.aspect import median_shape, size_of_photos
from ar_core.training.code_masks import CodeMasks
from ar_core.training.examples import Batch, Examples, weighted
from ar_core.training.loss import image_code_loss
from ar_core.training.prompt_captions import captioned_templates
from ar_core.training.settings import EMBEDDING
from ar_core.training.stages import Stage

IDENTIFIER = Identifier("[V]", "dog", FAMILY.bind(toy_model().protocol.text).identifier_base, 1)


def picture(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(levels).resize((width, height))


def ellipse(width: int = 80, height: int = 60, x: float = 0.4, y: float = 0.6) -> Image.Image:
    """White in an ellipse, black outside."""
    down, across = np.mgrid[:height, :width]
    inside = ((across / width - x) / 0.3) ** 2 + ((down / height - y) / 0.35) ** 2 < 1
    return Image.fromarray((inside * 255).astype(np.uint8))


def masked_photo(seed: int = 0) -> Photo:
    return Photo(f"{seed}.png", picture(seed=seed)).with_mask(ellipse())


@pytest.fixture
def folder(tmp_path):
    """Two photos, the first with a mask and a caption."""
    picture(seed=1).save(tmp_path / "dog 1.png")
    picture(seed=2).save(tmp_path / "dog 2.png")
    ellipse().save(tmp_path / "dog 1-mask.png")
    (tmp_path / "dog 1.txt").write_text("on a red\nsofa\n", encoding="utf-8")
    return tmp_path


# ---------------------------------------------------------------- which files


def test_prompts_without_a_caption_are_the_templates_themselves():
    assert captioned_templates(NEUTRAL_TEMPLATES, "") == list(NEUTRAL_TEMPLATES)


def test_masks_and_captions_are_no_photos(folder):
    photos, report = read_photos(folder)
    assert [photo.name for photo in photos] == ["dog 1.png", "dog 2.png"]
    assert "dog 1-mask.png: the mask of dog 1.png" in report and "dog 1.txt: the caption of dog 1.png" in report
    assert all(photo.mask is None and not photo.caption for photo in photos)


def test_a_picture_called_mask_without_its_photo_is_a_photo(tmp_path):
    picture().save(tmp_path / "iron-mask.png")
    (tmp_path / "notes.txt").write_text("of mine", encoding="utf-8")
    photos, report = read_photos(tmp_path)
    assert [photo.name for photo in photos] == ["iron-mask.png"] and "notes.txt: skipped, not an image" in report
    assert report[0].startswith("iron-mask.png: ")
    assert report[0].endswith(", taken for a photo: there is no photo called iron")


def test_a_mask_that_is_no_png_is_a_photo_and_the_report_says_so(folder):
    picture(seed=3).save(folder / "dog 1-Mask.JPG")
    photos, report = read_photos(folder)
    assert "dog 1-Mask.JPG" in [photo.name for photo in photos]
    [line] = [line for line in report if line.startswith("dog 1-Mask.JPG: ")]
    assert line.endswith(", taken for a photo: masks are PNG files")


def place_folder(path):
    path.mkdir()


def place_broken_link(path):
    try:
        path.symlink_to("nowhere")
    except OSError:
        pytest.skip("links cannot be made here")


def place_pipe(path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes here")
    os.mkfifo(path)


@pytest.mark.parametrize("place", [place_folder, place_broken_link, place_pipe])
def test_what_is_called_like_a_sidecar_and_is_no_file_is_one_sentence(tmp_path, place):
    picture().save(tmp_path / "dog.png")
    photos = read_photos(tmp_path)[0]
    place(tmp_path / "dog-mask.png")
    place(tmp_path / "dog.txt")
    with pytest.raises(UnreadableFile, match=r"dog-mask.png is called like .* is no file, .* Put the file there"):
        add_masks(photos)
    with pytest.raises(UnreadableFile, match=r"dog.txt is called like .* is no file, .* Put the file there"):
        add_captions(photos)
    read_described_photos(tmp_path, OFF, unused_captions="")  # which is nobody's business where it is not wanted


def test_sidecars_are_found_whatever_the_case_of_their_names(tmp_path):
    """Also where files are told apart by it: cameras and Windows write what they like."""
    picture().save(tmp_path / "Dog.JPG")
    ellipse().save(tmp_path / "dog-Mask.PNG")
    (tmp_path / "DOG.TXT").write_text("on a red sofa", encoding="utf-8")
    photos, report = read_photos(tmp_path)
    assert "dog-Mask.PNG: the mask of Dog.JPG" in report and "DOG.TXT: the caption of Dog.JPG" in report
    [photo] = add_captions(add_masks(photos)[0])[0]
    assert photo.mask is not None and photo.caption == "on a red sofa"


def test_of_two_sidecars_the_one_in_the_photos_own_case_is_taken(tmp_path):
    (tmp_path / "a.txt").touch()
    if (tmp_path / "A.txt").exists():
        pytest.skip("files here are not told apart by the case of their names")
    for name in ("a.jpg", "A.jpg"):
        picture().save(tmp_path / name)
    (tmp_path / "a.txt").write_text("small", encoding="utf-8")
    (tmp_path / "A.txt").write_text("large", encoding="utf-8")
    captioned = add_captions(read_photos(tmp_path)[0])[0]
    assert {photo.name: photo.caption for photo in captioned} == {"a.jpg": "small", "A.jpg": "large"}


def test_photos_that_share_their_sidecars_are_named_together(tmp_path):
    picture().save(tmp_path / "dog.jpg")
    picture(60, 80).save(tmp_path / "dog.png")
    ellipse().save(tmp_path / "dog-mask.png")
    (tmp_path / "dog.txt").write_text("on a red sofa", encoding="utf-8")
    photos, report = read_photos(tmp_path)
    assert "dog-mask.png: the mask of dog.jpg and dog.png" in report
    assert "dog.txt: the caption of dog.jpg and dog.png" in report
    said = r"The mask of dog.jpg and dog.png is 80x60, and dog.png 60x80: .* Rename one of these photos"
    with pytest.raises(PhotoError, match=said):
        add_masks(photos)


def test_a_benchmark_scores_photos_alone(folder):
    (folder / "prompts_and_classes.txt").write_text(
        'subject_name,class\ndog,dog\n\nPrompts\nObject Prompts\n"a {0} {1} on a mat"\nLive Subject Prompts\n'
        '"a {0} {1} asleep"\n',
        encoding="utf-8",
    )
    (folder / "dog").mkdir()
    for name in ("dog 1.png", "dog 2.png", "dog 1-mask.png", "dog 1.txt"):
        (folder / name).rename(folder / "dog" / name)
    data = read_dataset(folder, ["dog"])
    assert [path.name for path in data.subjects[0].photos] == ["dog 1.png", "dog 2.png"] and not data.problems


# ---------------------------------------------------------------- masks from files


def test_a_mask_beside_a_photo_is_its_mask(folder):
    photos, lines = add_masks(read_photos(folder)[0])
    assert photos[0].mask.tobytes() == ellipse().tobytes() and photos[1].mask is None
    assert lines == ["dog 1.png: its mask marks 33% of it as the subject"]
    without, lines = add_masks(read_photos(folder)[0], OFF)
    assert without[0].mask is None and lines == []


def test_a_mask_listed_alone_with_its_photo_is_found(folder):
    listed = read_photos([folder / "dog 1.png"])[0]
    assert add_masks(listed)[0][0].mask is not None
    assert [photo.name for photo in read_photos([folder / "dog 1.png", folder / "dog 1-mask.png"])[0]] == ["dog 1.png"]


def test_alpha_is_a_mask_only_where_it_is_asked_for(tmp_path):
    cut_out = picture()
    cut_out.putalpha(ellipse())
    cut_out.save(tmp_path / "a.png")
    picture().save(tmp_path / "b.png")
    photos = read_photos(tmp_path)[0]
    assert [photo.mask for photo in add_masks(photos, FILES)[0]] == [None, None]
    masked = add_masks(photos, ALPHA)[0]
    assert masked[0].mask.tobytes() == ellipse().tobytes() and masked[1].mask is None
    assert masked[0].image.tobytes() == photos[0].image.tobytes()


def test_alpha_is_turned_and_reduced_as_its_photo(tmp_path, monkeypatch):
    monkeypatch.setattr("ar_core.photos.LARGEST", 1200)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    cut_out = picture()
    cut_out.putalpha(ellipse(x=0.25))
    cut_out.save(tmp_path / "a.png", exif=exif)
    [photo] = add_masks(read_photos(tmp_path)[0], ALPHA)[0]
    assert photo.mask.size == photo.size == (30, 40)
    upright = ellipse(x=0.25).reduce(2).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.asarray(photo.mask, int) - np.asarray(upright, int)).max() <= 1


def test_a_cut_out_as_a_mask_marks_what_is_not_transparent(folder):
    cut_out = Image.new("RGB", (80, 60), "black")
    cut_out.putalpha(ellipse())
    cut_out.save(folder / "dog 1-mask.png")
    assert add_masks(read_photos(folder)[0])[0][0].mask.tobytes() == ellipse().tobytes()


@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_mask_of_one_colour_is_none(folder, colour):
    Image.new("L", (9, 9), colour).save(folder / "dog 1-mask.png")
    photos, [line] = add_masks(read_photos(folder)[0])
    assert photos[0].mask is None
    assert line == f"dog 1.png: its mask is {colour} everywhere, so all of the photo counts"


@pytest.mark.parametrize("lightest", [1, 127])
def test_a_mask_of_other_numbers_than_0_to_255_is_one_sentence(folder, lightest):
    """Segmentation tools write 0 and 1, or the numbers of classes."""
    ellipse().point(lambda level: min(level, lightest)).save(folder / "dog 1-mask.png")
    said = f"The mask of dog 1.png is almost black: its lightest level is {lightest} of 255. Make it anew with 255"
    with pytest.raises(PhotoError, match=said):
        add_masks(read_photos(folder)[0])


def test_a_soft_mask_need_not_reach_white(folder):
    soft = ellipse().point(lambda level: min(level, 200))
    soft.save(folder / "dog 1-mask.png")
    assert add_masks(read_photos(folder)[0])[0][0].mask.tobytes() == soft.tobytes()


def test_a_mask_of_another_size_or_kind_is_one_sentence(folder):
    ellipse(60, 80).save(folder / "dog 1-mask.png")
    with pytest.raises(PhotoError, match=r"The mask of dog 1.png is 60x80, and the photo 80x60: .* Make it anew"):
        add_masks(read_photos(folder)[0])
    (folder / "dog 1-mask.png").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=r"dog 1-mask.png cannot be used: damaged .* Save it again as a PNG"):
        add_masks(read_photos(folder)[0])


def test_a_mask_of_a_photo_that_was_reduced_while_it_was_read_follows_it(tmp_path, monkeypatch):
    """A JPEG is decoded at a half before it is reduced, a PNG is not: two ways, which end at different sizes."""
    monkeypatch.setattr("ar_core.photos.LARGEST", 10_000)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(240, 180).save(tmp_path / "dog.jpg", exif=exif)
    ellipse(180, 240).save(tmp_path / "dog-mask.png")
    [photo] = add_masks(read_photos(tmp_path)[0])[0]
    assert photo.mask.size == photo.size != read_photos([tmp_path / "dog-mask.png"])[0][0].size
    expected = np.asarray(ellipse(*photo.size), int)
    assert np.abs(np.asarray(photo.mask, int) - expected).mean() < 8
    ellipse(240, 180).save(tmp_path / "dog-mask.png")
    with pytest.raises(PhotoError, match="The mask of dog.jpg is .* a mask must be as large as its photo"):
        add_masks(read_photos(tmp_path)[0])


# ---------------------------------------------------------------- masks from tensors


def tensor_of(mask: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(mask)).float()[None] / 255


def test_tensor_masks_go_with_their_photos_or_with_all():
    photos = [Photo(str(number), picture(seed=number)) for number in range(2)]
    left, right = ellipse(x=0.3), ellipse(x=0.7)
    each = add_tensor_masks(photos, [tensor_of(left), tensor_of(right)])[0]
    batch = add_tensor_masks(photos, [torch.cat([tensor_of(left), tensor_of(right)])])[0]
    for masked in (each, batch):
        assert [photo.mask.tobytes() for photo in masked] == [left.tobytes(), right.tobytes()]
    for_all = add_tensor_masks(photos, [tensor_of(left)[0]])[0]
    assert [photo.mask.tobytes() for photo in for_all] == [left.tobytes()] * 2


def test_the_black_mask_of_a_picture_that_has_none_is_none():
    """ComfyUI's Load Image gives 64x64 of zeros for it."""
    photos, lines = add_tensor_masks([Photo("a", picture())], [torch.zeros(1, 64, 64)])
    assert photos[0].mask is None and "so all of the photo counts" in lines[0]


@pytest.mark.parametrize(
    "masks, said",
    [
        ([torch.rand(2, 60, 80)], "mask_1 has 2 masks for 3 photos: connect one for each photo, or one for all"),
        ([torch.rand(1, 60, 80, 3)], r"mask_1 has the shape \(1, 60, 80, 3\); masks of height and width are expected"),
        ([torch.rand(1, 80, 60)], "The mask of 0 is 60x80, and the photo 80x60"),
    ],
)
def test_tensor_masks_that_do_not_fit_are_one_sentence(masks, said):
    photos = [Photo(str(number), picture(seed=number)) for number in range(3)]
    with pytest.raises(PhotoError, match=said):
        add_tensor_masks(photos, masks, "mask_1")


def test_what_is_outside_a_mask_is_shown_grey():
    photo = Photo("a", Image.new("RGB", (64, 64), "red")).with_mask(ellipse(64, 64, x=0.5, y=0.5))
    shown = crop_with_mask(photo, (32, 32))
    assert shown.getpixel((16, 16)) == (255, 0, 0) and shown.getpixel((0, 0))[1] > 90


# ---------------------------------------------------------------- masks on the grid of codes


def test_a_mask_goes_through_the_very_views_of_its_photo():
    """A photo that is its own mask: pooling its viewed pixels gives the shares, in every view, mirrored ones too."""
    family = replace(FAMILY, recipe=replace(FAMILY.recipe, views=8, view_shift=0.2, view_scale=0.6, view_flip=True))
    model = replace(toy_model(), family=family)
    mask = ellipse(90, 70, x=0.35)
    subject = prepare_subject(model, [Photo("a", mask.convert("RGB")).with_mask(mask)], "dog")
    recipe = family.recipe
    shift, scale = recipe.view_shift, recipe.view_scale
    views = photo_views(mask.convert("RGB"), SIZE, recipe.views, 0, shift, scale, flip=True)
    pooled = stack(views)[..., 0].reshape(8, 4, 8, 4, 8).mean((2, 4))
    torch.testing.assert_close(subject.masks.shares[1:], pooled)
    straight = photo_views(mask.convert("RGB"), SIZE, recipe.views, 0, shift, scale, flip=False)
    mirrored = [a.tobytes() != b.tobytes() for a, b in zip(views, straight, strict=True)]
    assert any(mirrored) and not all(mirrored)
    assert subject.masks.shares.shape == subject.codes.shape


def test_photos_without_a_mask_count_everywhere():
    subject = prepare_subject(toy_model(), [masked_photo(), Photo("b", picture(seed=1))], "dog")
    weights = subject.masks.weights(0.1)
    assert torch.equal(weights[2:], torch.ones(2, 4, 4)) and not torch.equal(weights[:2], torch.ones(2, 4, 4))


@pytest.mark.parametrize("background", [0.0, 0.1, 0.7])
def test_codes_outside_weigh_their_part_and_every_picture_of_the_subject_weighs_the_same(background):
    shares = torch.tensor([[[1.0, 0.0], [0.0, 0.5]], [[0.0, 0.1], [0.0, 0.0]]])
    weights = CodeMasks(shares, "").weights(background)
    torch.testing.assert_close(weights.mean((1, 2)), torch.ones(2))
    torch.testing.assert_close(weights[0, 0, 1], background * weights[0, 0, 0])
    torch.testing.assert_close(weights[0, 1, 1], (1 + background) / 2 * weights[0, 0, 0])


@pytest.mark.parametrize("background", [0.0, 0.1, 0.7])
def test_a_view_that_lost_the_subject_counts_as_background(background):
    weights = CodeMasks(torch.zeros(1, 2, 2), "").weights(background)
    assert torch.equal(weights, torch.full((1, 2, 2), background))


def test_a_step_of_views_that_lost_the_subject_learns_nothing_where_the_background_weighs_nothing():
    weights = CodeMasks(torch.zeros(2, 4, 4), "").weights(0.0)
    assert loss_of(batch_of(toy_subject(), weights)).item() == 0


def test_a_subject_that_the_crop_leaves_out_is_one_sentence():
    wide = Photo("wide.jpg", picture(240, 60)).with_mask(ellipse(240, 60, x=0.0))
    with pytest.raises(PhotoError, match="The middle of wide.jpg, .* at 32x32, shows nothing .* Crop the photo"):
        prepare_subject(toy_model(), [wide], "dog")


# ---------------------------------------------------------------- the loss


def batch_of(subject, weights: torch.Tensor | None = None) -> Batch:
    examples = Examples(subject, toy_model().protocol, IDENTIFIER, 2, 0)
    batch = examples(0)
    return batch if weights is None else weighted(batch, weights)


def loss_of(batch: Batch) -> torch.Tensor:
    return image_code_loss(toy_model().transformer, batch, None)


def test_the_weighted_loss_is_that_of_a_plain_sum():
    weights = torch.rand(2, 4, 4)
    batch = batch_of(toy_subject(), weights)
    model = toy_model()
    hidden = model.transformer(model.transformer.embed(batch.ids))
    total = 0.0
    for row, (hidden_row, targets) in enumerate(zip(hidden, batch.targets, strict=True)):
        places = [place for place, target in enumerate(targets.tolist()) if target >= 0]
        for place, weight in zip(places, weights[row].flatten().tolist(), strict=True):
            logits = model.transformer.image_logits(hidden_row[place])
            total += weight * F.cross_entropy(logits, targets[place]).item() / 32
    assert loss_of(batch).item() == pytest.approx(total, rel=1e-5)


def test_parts_of_a_batch_have_their_own_weights():
    batch = batch_of(toy_subject(), torch.rand(2, 4, 4))
    parts = batch.split(1)
    assert torch.equal(torch.cat([part.weights for part in parts]), batch.weights)
    assert sum(loss_of(part).item() / 2 for part in parts) == pytest.approx(loss_of(batch).item(), rel=1e-5)


def learn(runs, subject, **chosen):
    settings = TrainingSettings.resolve(FAMILY, strategy="embedding_only", embedding_steps=3, **chosen)
    return personalize(toy_model(), subject, settings, runs, samples=0)[0]


@pytest.mark.parametrize("case", ["no masks", "weight of one", "white mask"])
def test_masks_that_change_nothing_change_no_bit_and_no_name(tmp_path, case):
    photos = [Photo(str(number), picture(seed=number)) for number in range(2)]
    plain = learn(tmp_path / "plain", prepare_subject(toy_model(), photos, "dog"))
    chosen = {}
    if case == "no masks":
        chosen = {"background_weight": 0.5}
    elif case == "weight of one":
        photos = [photo.with_mask(ellipse()) for photo in photos]
        chosen = {"background_weight": 1.0}
    else:
        photos = add_tensor_masks(photos, [torch.ones(60, 80)])[0]
    same = learn(tmp_path / "same", prepare_subject(toy_model(), photos, "dog"), **chosen)
    assert same.run.name == plain.run.name and same.losses == plain.losses
    assert torch.equal(same.personalization.vectors, plain.personalization.vectors)


def test_masks_and_their_weight_are_another_training_of_the_same_codes(tmp_path):
    photos = [masked_photo(0), masked_photo(1)]
    plain = prepare_subject(toy_model(), [Photo(photo.name, photo.image) for photo in photos], "dog")
    subject = prepare_subject(toy_model(), photos, "dog")
    moved = prepare_subject(toy_model(), [photos[0], photos[1].with_mask(ellipse(x=0.6))], "dog")
    assert torch.equal(subject.codes, plain.codes) and subject.source == plain.source == moved.source
    results = [learn(tmp_path, plain), learn(tmp_path, subject), learn(tmp_path, moved)]
    results.append(learn(tmp_path, subject, background_weight=0.3))
    assert len({result.run.name for result in results}) == len({result.losses[-1] for result in results}) == 4
    recipes = [result.personalization.recipe for result in results]
    assert [recipe.get("background_weight") for recipe in recipes] == [None, 0.1, 0.1, 0.3]


def test_a_weight_beyond_its_range_is_one_sentence():
    for weight in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"background_weight is {weight}; it must be a number from 0 to 1"):
            TrainingSettings.resolve(FAMILY, background_weight=weight)


# ---------------------------------------------------------------- captions


def test_a_caption_is_one_line_and_an_empty_one_is_none(folder):
    (folder / "dog 2.txt").write_text(" \n", encoding="utf-8-sig")
    photos, lines = add_captions(read_photos(folder)[0])
    assert [photo.caption for photo in photos] == ["on a red sofa", ""]
    assert lines == ['dog 1.png: caption "on a red sofa"', "dog 2.png: its caption is empty"]


def test_a_caption_of_letters_that_nobody_sees_is_empty(folder):
    (folder / "dog 1.txt").write_text("\u200b \ufeff\n", encoding="utf-8")
    photos, lines = add_captions(read_photos(folder)[0])
    assert photos[0].caption == "" and lines == ["dog 1.png: its caption is empty"]


def test_a_text_that_is_far_too_long_for_a_caption_is_one_sentence(folder):
    (folder / "dog 1.txt").write_text("red " * 30_000, encoding="utf-8")
    said = r"dog 1.txt has 120000 bytes; a caption has at most 100000. Write there in a few words"
    with pytest.raises(UnreadableFile, match=said):
        add_captions(read_photos(folder)[0])


def test_captions_that_are_wanted_and_lie_nowhere_are_said(folder):
    (folder / "dog 1.txt").unlink()
    report = read_described_photos(folder, captions=True, unused_captions="unused")[1]
    assert report[-1] == 'No photo has a caption: it would be "dog.txt" beside "dog.jpg".'
    assert read_described_photos(folder, unused_captions="unused")[1][-1] == report[-2]


def test_a_caption_in_another_encoding_is_one_sentence(folder):
    (folder / "dog 1.txt").write_text("ein Hündchen", encoding="latin-1")
    with pytest.raises(UnreadableFile, match=r"dog 1.txt is not text in UTF-8 .* Save it as UTF-8."):
        add_captions(read_photos(folder)[0])


def prompts_of(captions, per_image_token=False):
    """Which photo was shown with which prompt in 20 steps, as texts."""
    model = toy_model()
    subject = replace(toy_subject(photos=3), captions=captions)
    tokens = ()
    if per_image_token:
        tokens = tuple(Identifier(f"[photo{i}]", "", IDENTIFIER.first_id + 1 + i, 1) for i in range(3))
    examples = Examples(subject, model.protocol, IDENTIFIER, 2, 0, tokens)
    shown = []
    for step in range(20):
        batch = examples(step)
        photos = [(2 * step + i) % 3 for i in range(2)]
        for photo, ids in zip(photos, batch.ids.tolist(), strict=True):
            prompt = ids[: ids.index(model.protocol.image_start)]
            shown.append((photo, model.protocol.text.tokenizer.decode(prompt, skip_special_tokens=False)))
    return shown


@pytest.mark.parametrize("caption", ["on a red sofa", "{} asleep on a red sofa"])
@pytest.mark.parametrize("per_image_token", [False, True])
def test_a_caption_changes_the_prompts_of_its_own_photo_alone(caption, per_image_token):
    plain = prompts_of((), per_image_token)
    captioned = prompts_of(("", caption, ""), per_image_token)
    assert [photo for photo, _ in plain] == [photo for photo, _ in captioned]
    for (photo, before), (_, after) in zip(plain, captioned, strict=True):
        assert (before != after) == (photo == 1)
        assert ("red sofa" in after) == (photo == 1)


def test_the_prompts_are_the_templates_with_the_caption_or_the_caption_itself():
    model = toy_model()

    def examples(caption):
        subject = replace(toy_subject(), captions=(caption, ""))
        return Examples(subject, model.protocol, IDENTIFIER, 2, 0)

    def prompts(caption):
        return examples(caption).captioned_prompts[0]

    def expected(texts):
        return [model.protocol.prompt(text, SIZE, [IDENTIFIER]) for text in texts]

    plain = expected(template.replace("{}", "[V] dog") for template in NEUTRAL_TEMPLATES)
    assert examples("on a sofa").plain_prompts == plain
    behind = [f"{template.replace('{}', '[V] dog')}, on a sofa" for template in NEUTRAL_TEMPLATES]
    assert prompts("on a sofa") == expected(behind)
    assert prompts("{} on a sofa") == expected(["[V] dog on a sofa"] * len(NEUTRAL_TEMPLATES))


def test_the_name_that_a_caption_uses_decides_nothing(tmp_path):
    photos = [Photo("a", picture())]

    def subject(caption, identifier="[V]"):
        return prepare_subject(toy_model(), [photos[0].with_caption(caption)], "dog", identifier=identifier)

    assert subject("[V] dog on a sofa").captions == subject("[V] on a sofa").captions == ("{} on a sofa",)
    assert subject("[sks] dog on a sofa", "[sks]").captions == ("{} on a sofa",)
    assert prepare_subject(toy_model(), photos, "dog").captions == ()


def test_captions_name_another_training_and_none_the_same():
    settings = TrainingSettings.resolve(FAMILY, strategy="embedding_only")

    def name(captions):
        return Stage(
            toy_model(), replace(toy_subject(), captions=captions), settings, "runs", EMBEDDING
        ).run.folder.name

    assert len({name(()), name(("on a sofa", "")), name(("", "on a sofa"))}) == 3
    assert name(()) == Stage(toy_model(), toy_subject(), settings, "runs", EMBEDDING).run.folder.name


@pytest.mark.parametrize(
    "caption, said",
    [
        ("beside [W] cat", r'The caption of a.jpg has "\[W\]", which names nothing in a training. The subject is'),
        ("red " * 1100, r"The caption of a.jpg cannot be used. The prompt has \d+ tokens; at most 1024 are read"),
        ("[[V]] dog", r'The caption of a.jpg has "\[\[V\]\] dog", which names nothing in a training.'),
        ("a <reserved01026> dog", "The caption of a.jpg cannot be used. The prompt contains"),
    ],
)
def test_a_caption_that_no_prompt_can_hold_is_one_sentence(caption, said):
    with pytest.raises(TextError, match=said):
        prepare_subject(toy_model(), [Photo("a.jpg", picture()).with_caption(caption)], "dog")


def longest_caption(*templates: str) -> str:
    """With which every one of the templates has room in a prompt for the word "dog", and none for another token."""
    protocol = toy_model().protocol

    def room(template):
        prompt = protocol.prompt(f"{template.replace('{}', 'dog')}, on", SIZE)
        return LONGEST_PROMPT + len(protocol.header(SIZE)) - len(prompt)

    return "on" + " on" * min(map(room, templates))


def test_a_caption_that_the_longest_template_has_no_room_for_is_one_sentence():
    caption = longest_caption(NEUTRAL_TEMPLATES[0])
    with pytest.raises(TextError, match=r"The caption of a.jpg cannot be used. The prompt has \d+ tokens"):
        prepare_subject(toy_model(), [Photo("a.jpg", picture()).with_caption(caption)], "dog")


def test_a_caption_that_leaves_no_room_for_vectors_is_one_sentence():
    caption = longest_caption(*NEUTRAL_TEMPLATES)
    photos = [Photo("a.jpg", picture()), Photo("b.jpg", picture(seed=1)).with_caption(caption)]
    subject = prepare_subject(toy_model(), photos, "dog")
    said = r'The caption of photo 2, "on on .*", cannot be used with these templates and vectors. The prompt has 1025'
    with pytest.raises(TextError, match=said):
        Examples(subject, toy_model().protocol, IDENTIFIER, 2, 0)


# ---------------------------------------------------------------- the photos' shape


@pytest.mark.parametrize(
    "shapes, expected",
    [
        ([(400, 400)] * 3, (768, 768)),
        ([(400, 300)] * 2, (864, 640)),
        ([(300, 400), (300, 420), (900, 300)], (640, 864)),
    ],
)
def test_the_size_is_the_nearest_to_the_median_shape(shapes, expected):
    photos = [Photo(str(number), Image.new("RGB", shape)) for number, shape in enumerate(shapes)]
    assert size_of_photos(LUMINA_768, photos) == expected


def test_a_recipe_that_trains_on_smaller_pictures_keeps_their_area():
    photos = [Photo("a", Image.new("RGB", (400, 300)))]
    family = for_artists(LUMINA_768)
    width, height = size_of_photos(family, photos)
    assert family.recipe.learned_size == (512, 512) and width * height <= 512 * 512 < 1.1 * width * height
    assert width / height == pytest.approx(4 / 3, rel=0.05) and width % 32 == height % 32 == 0


def test_the_shape_between_wide_and_high_is_square():
    photos = [Photo("wide", Image.new("RGB", (800, 200))), Photo("high", Image.new("RGB", (200, 800)))]
    assert median_shape(photos, 512) == (512, 512)


def test_a_model_of_one_size_says_so():
    with pytest.raises(ValueError, match=r"the miniature .* 32x32 alone, so photos cannot keep their shape. Leave"):
        size_of_photos(FAMILY, [Photo("a", picture())])


# ---------------------------------------------------------------- the command


def personalize_command(folder, *options):
    out = ["--class-name", "dog", "--out", str(folder / "dog.safetensors"), "--strategy", "embedding_only"]
    return cli.main(
        ["personalize", "--photos", str(folder), *out, "--embedding-steps", "1", "--batch-size", "1", *options]
    )


def test_the_command_says_what_it_uses_of_what_lies_beside(folder, capsys):
    assert personalize_command(folder) == 0
    out = capsys.readouterr().out
    assert "masks: 1 of 2 photos; codes outside weigh 0.1" in out
    assert "note: the captions beside the photos are not used; --captions uses them." in out
    assert personalize_command(folder, "--captions", "--masks", "off", "--background-weight", "0.2") == 0
    out = capsys.readouterr().out
    assert 'dog 1.png: caption "on a red sofa"' in out
    assert "note: no photo has a mask, so --background-weight changes nothing." in out


def test_the_command_ends_with_one_sentence_for_what_cannot_be_used(folder, capsys):
    assert personalize_command(folder, "--keep-aspect") == 1
    assert "draws pictures of 96x96 alone" in capsys.readouterr().err
    (folder / "dog 1.txt").write_bytes(b"\xff\xfe")
    assert personalize_command(folder, "--captions") == 1
    said = capsys.readouterr().err
    assert "dog 1.txt is not text in UTF-8" in said and said.strip().count("\n") == 0
