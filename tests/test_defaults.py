"""Another part of the process may change torch's defaults: nothing here depends on them."""

from contextlib import contextmanager

import pytest
import torch
from PIL import Image
from toy import toy_model, toy_subject

from ar_core import ARModel, SamplingSettings, TrainingSettings, personalize, prepare_subject
from ar_core.dreambench.encoders import MINIATURE_ENCODERS, Encoders
from ar_core.photos import Photo

DTYPES = (torch.bfloat16, torch.float16, torch.float64)
CHANGES = ({"dtype": torch.bfloat16}, {"dtype": torch.float16}, {"dtype": torch.float64}, {"device": "meta"})
MODEL = toy_model()
SUBJECT = toy_subject()


@contextmanager
def default(dtype=torch.float32, device="cpu"):
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def drawn(window):
    model = ARModel.load()
    settings = SamplingSettings.resolve(model.family, seed=3, window=window)
    image = model.generate(["a photo of a red dog"] * 2, settings)[1]
    return image.codes, image.images, model.encode(image.images)


def learned(folder, **chosen):
    model = MODEL
    settings = TrainingSettings.resolve(
        model.family, embedding_steps=2, layer_steps=2, initialisation="random", per_image_token=True, **chosen
    )
    results = personalize(model, SUBJECT, settings, folder, samples=1)
    found = results[-1].personalization
    return [result.losses for result in results], [found.vectors, *found.adapter.file_tensors().values()]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


@pytest.mark.parametrize("window", [1, 4])
def test_pictures_are_those_of_float32_whatever_the_default_is(window):
    expected = drawn(window)
    for change in CHANGES:
        with default(**change):
            assert_equal(drawn(window), expected)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_is_that_of_float32_whatever_the_default_is(method, tmp_path):
    losses, tensors = learned(tmp_path / "expected", method=method, prior_preservation=True, prior_images=2)
    assert all(tensor.dtype == torch.float32 for tensor in tensors)
    for number, change in enumerate(CHANGES):
        with default(**change):
            found = learned(tmp_path / str(number), method=method, prior_preservation=True, prior_images=2)
        assert found[0] == losses
        assert_equal(found[1], tensors)


def test_photos_become_the_same_codes_whatever_the_default_is():
    model = ARModel.load()
    photos = [Photo("a", Image.linear_gradient("L").convert("RGB"))]
    expected = prepare_subject(model, photos, "dog").codes
    for change in CHANGES:
        with default(**change):
            assert_equal([prepare_subject(model, photos, "dog").codes], [expected])


def test_scores_are_those_of_float32_whatever_the_default_is():
    encoders = Encoders.load(MINIATURE_ENCODERS)
    pictures = [Image.new("RGB", (96, 96), color) for color in ("red", "teal")]
    expected = (*encoders.embed_images(pictures), encoders.embed_texts(["a red dog"]))
    for dtype in DTYPES:
        with default(dtype):
            assert_equal((*encoders.embed_images(pictures), encoders.embed_texts(["a red dog"])), expected)
