"""Photos as users have them: every odd file is either a clean RGB image or a line that says why not."""

import random
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile, features
from PIL.PngImagePlugin import PngInfo

from ar_core import photos
from ar_core.photos import Photo, PhotoError, centre_crop, photo_views, pixel_hash, read_photos, stack, unstack

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
HEIC = Path(__file__).parent / "fixtures" / "photos"
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow can neither write nor read AVIF")


def picture(width=96, height=80, seed=0) -> Image.Image:
    """Smooth random colours, no two places alike."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def read_one(path):
    (photo,), (line,) = read_photos([path])
    assert line.startswith(f"{path.name}: ") and photo.name == path.name
    assert type(photo.image) is Image.Image and photo.image.mode == "RGB"
    return photo.image, line.removeprefix(f"{path.name}: ")


def pixels(image):
    return np.asarray(image, np.int16)


def assert_close(a, b, tolerance):
    assert a.size == b.size
    assert np.abs(pixels(a) - pixels(b)).max() <= tolerance


def assert_alike(a, b):
    """The same picture; a lossy format may move its colours' edges, and with them single pixels."""
    assert a.size == b.size
    assert np.abs(pixels(a) - pixels(b)).mean() < 6


# Which files


def test_a_folder_is_read_in_natural_order_whatever_it_is_called(tmp_path):
    folder = tmp_path / "Dog ü 狗"
    (folder / "inner").mkdir(parents=True)
    names = ["2 dog.png", "10 Dog.png", "a.PNG", "B.png", "狗.png"]
    for i, name in enumerate(reversed(names)):
        picture(seed=i).save(folder / name)
    picture().save(folder / "inner" / "deep.png")
    found, report = read_photos(str(folder))
    assert [photo.name for photo in found] == names
    assert report == [f"{name}: 96x80" for name in names]


def test_a_list_keeps_its_order(tmp_path):
    for name in "ab":
        picture(seed=ord(name)).save(tmp_path / f"{name}.png")
    found, _ = read_photos([tmp_path / "b.png", str(tmp_path / "a.png")])
    assert [photo.name for photo in found] == ["b.png", "a.png"]


def test_files_that_are_no_photos_are_skipped_with_a_reason(tmp_path):
    picture().save(tmp_path / "dog.png")
    for name in (".DS_Store", "._dog.jpg", "Thumbs.db", "desktop.ini", "notes.txt", "empty.jpg"):
        (tmp_path / name).write_text("" if name == "empty.jpg" else "plain words")
    (tmp_path / "drawing.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n%%EOF\n")
    (tmp_path / "phone.heic").write_text("plain words")
    found, report = read_photos(tmp_path)
    assert [photo.name for photo in found] == ["dog.png"]
    assert dict(line.split(": ", 1) for line in report) == {
        ".DS_Store": "skipped, hidden file",
        "._dog.jpg": "skipped, hidden file",
        "dog.png": "96x80",
        "Thumbs.db": "skipped, system file",
        "desktop.ini": "skipped, system file",
        "notes.txt": "skipped, not an image",
        "drawing.eps": "skipped, not an image",
        "empty.jpg": "skipped, damaged (no picture found in it)",
        "phone.heic": "skipped, damaged (no picture found in it)",
    }


@pytest.mark.parametrize(
    "name", ["b.jpg", "b.png", "b.webp", "b.gif", "b.tiff", "b.bmp", pytest.param("b.avif", marks=needs_avif)]
)
def test_truncated_files_are_skipped_as_damaged(tmp_path, name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some node packs leave it
    picture().save(tmp_path / "a.png")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8))
    noise.save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    found, report = read_photos(tmp_path)
    assert [photo.name for photo in found] == ["a.png"]
    assert report[1].startswith(f"{name}: skipped, damaged (")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_duplicates_are_kept_and_named(tmp_path):
    for name in ("a.png", "b.bmp", "d.png"):
        picture().save(tmp_path / name)
    picture(seed=1).save(tmp_path / "c.png")
    picture(seed=1).save(tmp_path / "e.png")
    found, report = read_photos(tmp_path)
    assert len(found) == 5
    same = [line.partition("same picture as ")[2] for line in report]
    assert same == ["", "a.png", "", "a.png", "c.png"]


def test_nothing_usable_is_one_clear_error(tmp_path):
    with pytest.raises(PhotoError, match="No usable photo in .*JPEG, PNG, WEBP") as empty:
        read_photos(tmp_path)
    assert str(tmp_path) in str(empty.value)
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(PhotoError, match="notes.txt: skipped, not an image"):
        read_photos(tmp_path)
    with pytest.raises(PhotoError, match="No usable photo"):
        read_photos([])


def test_a_path_the_user_named_must_exist(tmp_path):
    picture().save(tmp_path / "a.png")
    with pytest.raises(PhotoError, match="nowhere does not exist"):
        read_photos(tmp_path / "nowhere")
    with pytest.raises(PhotoError, match="b.png does not exist"):
        read_photos([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(PhotoError, match="is a folder"):
        read_photos([tmp_path])


# What becomes of a picture


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", pytest.param("avif", marks=needs_avif)])
@pytest.mark.parametrize("tag", range(2, 9))
def test_exif_orientation_is_applied(tmp_path, tag, suffix):
    upright = picture()
    stored = upright.transpose(Image.Transpose({2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[tag]))  # the inverse turns
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = tag
    stored.save(tmp_path / f"a.{suffix}", exif=exif, quality=100)
    image, line = read_one(tmp_path / f"a.{suffix}")
    assert_close(image, upright, 24)
    if suffix != "tiff":  # Pillow turns those without telling
        assert line == f"{stored.width}x{stored.height}, rotated by its EXIF tag"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "block", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\xef\xac\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xffnonsense"]
)
def test_a_broken_exif_block_does_not_lose_the_photo(tmp_path, suffix, block):
    picture().save(tmp_path / f"a.{suffix}", exif=block, quality=100)
    image, line = read_one(tmp_path / f"a.{suffix}")
    assert_close(image, picture(), 24)
    assert line == "96x80"


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_no_metadata_survives(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture().save(tmp_path / f"a.{suffix}", exif=exif, icc_profile=profile, comment=b"me")
    image, _ = read_one(tmp_path / f"a.{suffix}")
    assert image.info == {} and not image.getexif() and not image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    image.save(tmp_path / f"again.{suffix}")
    assert b"Camera" not in (tmp_path / f"again.{suffix}").read_bytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(tmp_path, mode):
    image = Image.new("RGBA", (80, 70), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 40, 70))
    if mode == "P":
        image = Image.new("P", (80, 70), 1)
        image.putpalette([9, 9, 9, 0, 0, 0])
        image.paste(0, (0, 0, 40, 70))
    image.convert(mode).save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    found, line = read_one(tmp_path / "a.png")
    assert line == "80x70, transparency put on white"
    assert found.getpixel((10, 10)) == WHITE and found.getpixel((60, 10)) == (0, 0, 0)


def test_half_transparent_pixels_mix_with_white_and_an_opaque_channel_is_not_mentioned(tmp_path):
    Image.new("RGBA", (70, 70), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert read_one(tmp_path / "a.png")[0].getpixel((0, 0)) == (255, 127, 127)
    picture().convert("RGBA").save(tmp_path / "b.png")
    image, line = read_one(tmp_path / "b.png")
    assert line == "96x80" and image.tobytes() == picture().tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_and_palette_pictures_become_rgb(tmp_path, mode):
    image = picture().convert(mode)
    image.save(tmp_path / "a.png")
    assert read_one(tmp_path / "a.png")[0].tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("name, dtype", [("a.png", "<u2"), ("a.tiff", "<u2"), ("b.tiff", ">u2"), ("a.tiff", "<i4")])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path, name, dtype):
    ramp = np.linspace(0, 65535, 80).round().astype(dtype)
    Image.fromarray(np.tile(ramp, (70, 1))).save(tmp_path / name)
    image, line = read_one(tmp_path / name)
    assert line == "80x70, scaled to 8 bits"
    assert (pixels(image)[5, :, 1] == (ramp / 257).round()).all()


def test_float_gray_is_scaled(tmp_path):
    Image.fromarray(np.tile(np.linspace(0, 1, 80, dtype=np.float32), (70, 1))).save(tmp_path / "a.tiff")
    assert (pixels(read_one(tmp_path / "a.tiff")[0])[5, :, 1] == np.linspace(0, 255, 80).round()).all()


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk(tmp_path, suffix):
    picture().convert("CMYK").save(tmp_path / f"a.{suffix}", quality=100)
    assert_close(read_one(tmp_path / f"a.{suffix}")[0], picture(), 24)


def test_a_colour_profile_is_applied_before_it_is_dropped(tmp_path):
    """The profile swaps red and blue, so what is stored as red has to come out blue."""
    swapped = swap_red_and_blue(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    Image.new("RGB", (70, 70), RED).save(tmp_path / "a.png", icc_profile=swapped)
    red, green, blue = read_one(tmp_path / "a.png")[0].getpixel((0, 0))
    assert blue > 250 and red < 5 and green < 5
    picture().save(tmp_path / "b.png", icc_profile=b"no profile")
    assert read_one(tmp_path / "b.png")[0].tobytes() == picture().tobytes()


def swap_red_and_blue(profile: bytes) -> bytes:
    return profile.replace(b"rXYZ", b"xxxx").replace(b"bXYZ", b"rXYZ").replace(b"xxxx", b"bXYZ")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (80, 70), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    image, line = read_one(tmp_path / f"a.{suffix}")
    assert line == "80x70, first frame only"
    assert_close(image, frames[0], 6)


def test_a_phone_photo_with_a_second_picture_behind_it(tmp_path):
    picture().save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[picture(seed=1)], quality=100)
    image, line = read_one(tmp_path / "a.jpg")
    assert line == "96x80"
    assert_close(image, picture(), 24)


@pytest.mark.parametrize("what", ["text", "icc_profile", "itxt"])
def test_a_png_with_a_long_text_or_profile_is_a_photo(tmp_path, what):
    """Editors write previews of megabytes there."""
    info = PngInfo()
    long = "x" * 3_000_000
    if what == "text":
        info.add_text("note", long, zip=True)
    elif what == "itxt":
        info.add_itxt("XML:com.adobe.xmp", long)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"icc_profile": profile + bytes(2_000_000)} if what == "icc_profile" else {"pnginfo": info}
    picture().save(tmp_path / "a.png", **options)
    photos, report = read_photos(tmp_path)
    assert len(photos) == 1 and "damaged" not in report[0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_large_photos_take_no_more_memory_than_their_files(tmp_path, suffix):
    """Twelve of a phone's would be most of a gigabyte, for as long as a host keeps them."""
    random = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    large = Image.fromarray(random).resize((3200, 2400), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    large.save(tmp_path / f"a.{suffix}", exif=exif, compression="jpeg" if suffix == "tif" else None)
    [photo] = read_photos(tmp_path)[0]
    assert photo.held_bytes <= (tmp_path / f"a.{suffix}").stat().st_size < 3 * 3200 * 2400
    assert photo.size == photo.image.size == (2400, 3200)
    (tmp_path / f"a.{suffix}").unlink()  # it may go
    once, again = (pixel_hash([photo.image]) for _ in range(2))
    assert once == again
    small = Photo("b", photo.image.resize((30, 40)))
    assert small.held_bytes == 3 * 30 * 40


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_huge_photo_is_reduced_while_it_is_read(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(photos, "LARGEST", 100 * 100)
    big, decoded = picture(400, 320), []
    big.save(tmp_path / f"a.{suffix}", quality=95)
    monkeypatch.setattr(
        photos,
        "photo_to_rgb",
        lambda image, notes, real=photos.photo_to_rgb: decoded.append(image.size) or real(image, notes),
    )
    image, line = read_one(tmp_path / f"a.{suffix}")
    assert image.size == (100, 80) and line == "400x320, reduced to 100x80"
    assert decoded == [(100, 80) if suffix == "jpg" else (400, 320)]  # a JPEG is never decoded in full
    assert_close(image, big.reduce(4), 12)


def test_beyond_pillows_limit_is_a_sentence_and_a_warning_is_none(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")
    picture(200, 160).save(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # pictures above it warn, above twice that Pillow refuses
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, report = read_photos(tmp_path)
    assert [photo.name for photo in found] == ["a.png"]
    assert report[1].startswith("b.png: skipped, too large (above ")


def test_a_bomb_that_only_claims_its_size(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(PhotoError, match="b.png: skipped, too large .above 179 megapixels"):
        read_photos(tmp_path)


def test_a_tiny_photo_is_used_with_a_warning(tmp_path):
    picture(40, 30).save(tmp_path / "a.png")
    assert read_one(tmp_path / "a.png")[1] == "only 40x30: expect a blurred subject"
    picture(64, 64).save(tmp_path / "b.png")
    assert read_one(tmp_path / "b.png")[1] == "64x64"


# HEIC and AVIF: whichever decoder is there


def without(monkeypatch, *decoders):
    """As if Python had no `decoders`, and Pillow no opener for HEIC and AVIF."""
    for name in decoders:
        monkeypatch.setitem(sys.modules, name, None)
    Image.init()
    for name in ("HEIF", "AVIF"):
        monkeypatch.delitem(Image.OPEN, name, raising=False)


@pytest.fixture
def pyav(monkeypatch):
    """PyAV is the only decoder."""
    pytest.importorskip("av", reason="PyAV is not installed, so reading HEIC and AVIF through it is NOT tested")
    without(monkeypatch, "pillow_heif")


@pytest.fixture
def pillow_heif(monkeypatch):
    """pillow-heif is the only decoder."""
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed, so reading HEIC with it is NOT tested")
    without(monkeypatch, "av")


@pytest.fixture(params=["pillow_heif", "pyav"])
def decoder(request):
    """One decoder of HEIC after the other."""
    request.getfixturevalue(request.param)
    return request.param


def test_a_turned_heic_is_read_upright(decoder):
    image, line = read_one(HEIC / "rotated.heic")
    assert_alike(image, Image.open(HEIC / "upright.png"))
    assert line == "96x112"


def test_a_heic_of_odd_sides_loses_what_it_is_padded_with(decoder):
    image, line = read_one(HEIC / "cropped.heic")
    assert_alike(image, Image.open(HEIC / "cropped.png"))
    assert line == "101x67"


def test_a_phones_grid_of_tiles_is_put_together_by_pillow_heif(pillow_heif):
    assert_alike(read_one(HEIC / "grid.heic")[0], Image.open(HEIC / "upright.png"))


def test_a_phones_grid_of_tiles_is_put_together_with_pyav_too(pyav):
    assert_alike(read_one(HEIC / "grid.heic")[0], Image.open(HEIC / "upright.png"))


def test_a_grid_that_lacks_a_tile_is_damaged(pyav, tmp_path):
    """The list of tiles names one that the file does not have."""
    data = (HEIC / "grid.heic").read_bytes()
    start = data.index(b"dimg") + 8
    (tmp_path / "grid.heic").write_bytes(data[:start] + b"\0\x63" + data[start + 2 :])
    with pytest.raises(PhotoError, match="grid.heic: skipped, damaged .a part of its photo is missing"):
        read_photos([tmp_path / "grid.heic"])


def test_without_a_decoder_the_user_learns_what_to_install(monkeypatch, tmp_path):
    without(monkeypatch, "av", "pillow_heif")
    with pytest.raises(PhotoError, match="rotated.heic: skipped, HEIC: it cannot .* as JPEG, or .*pip install pillow-"):
        read_photos([HEIC / "rotated.heic"])
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    with pytest.raises(PhotoError, match="a.avif: skipped, AVIF: it cannot be .* as JPEG, or .*--upgrade pillow"):
        read_photos([tmp_path / "a.avif"])


def test_a_heic_that_is_called_jpg_is_read(decoder, tmp_path):
    (tmp_path / "a.jpg").write_bytes((HEIC / "rotated.heic").read_bytes())
    assert read_one(tmp_path / "a.jpg")[1] == "96x112"


@needs_avif
@pytest.mark.parametrize("tag", range(1, 9))
def test_pyav_turns_and_mirrors_an_avif_as_pillow_does(tmp_path, request, tag):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = tag
    picture(101, 67).save(tmp_path / "a.avif", exif=exif, quality=95)
    by_pillow, _ = read_one(tmp_path / "a.avif")
    request.getfixturevalue("pyav")
    assert_alike(read_one(tmp_path / "a.avif")[0], by_pillow)


@needs_avif
def test_pyav_reads_the_colours_that_a_profile_means(tmp_path, pyav):
    swapped = swap_red_and_blue(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    Image.new("RGB", (70, 70), RED).save(tmp_path / "a.avif", icc_profile=swapped, quality=95)
    red, green, blue = read_one(tmp_path / "a.avif")[0].getpixel((0, 0))
    assert blue > 245 and red < 10 and green < 10


@needs_avif
def test_pyav_does_not_show_what_is_transparent(tmp_path, pyav):
    Image.new("RGBA", (70, 70), (255, 0, 0, 0)).save(tmp_path / "a.avif")
    with pytest.raises(PhotoError, match="a.avif: skipped, AVIF: its transparency would be lost"):
        read_photos([tmp_path / "a.avif"])


def test_a_large_heic_is_reduced_and_a_huge_one_refused(decoder, monkeypatch):
    monkeypatch.setattr(photos, "LARGEST", 50 * 60)
    image, line = read_one(HEIC / "rotated.heic")
    assert image.size == (48, 56) and line == "96x112, reduced to 48x56"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PhotoError, match="rotated.heic: skipped, too large .above "):
        read_photos([HEIC / "rotated.heic"])


@pytest.mark.parametrize("name", ["rotated.heic", "grid.heic", "cropped.heic"])
def test_a_heic_that_breaks_off_is_skipped_as_damaged(decoder, name, tmp_path):
    whole = (HEIC / name).read_bytes()
    picture().save(tmp_path / "a.png")
    for length in range(24, len(whole) - 1, 37):
        (tmp_path / "b.heic").write_bytes(whole[:length])
        found, report = read_photos(tmp_path)
        assert [photo.name for photo in found] == ["a.png"]
        assert report[1].startswith("b.heic: skipped, damaged (")


def test_what_is_appended_to_a_heic_does_not_lose_it(decoder, tmp_path):
    (tmp_path / "a.heic").write_bytes((HEIC / "rotated.heic").read_bytes() + b"a phone's own words")
    assert read_one(tmp_path / "a.heic")[1] == "96x112"


@pytest.mark.parametrize("name", ["rotated.heic", "grid.heic", "cropped.heic"])
def test_a_heic_with_wrong_bytes_is_a_photo_or_a_sentence(decoder, name, tmp_path):
    rng = random.Random(0)
    whole = (HEIC / name).read_bytes()
    picture().save(tmp_path / "a.png")
    for place in range(8, 700, 5):
        changed = bytearray(whole)
        changed[place] = rng.randrange(256)
        (tmp_path / "b.heic").write_bytes(changed)
        _, report = read_photos(tmp_path)
        assert report[0] == "a.png: 96x80" and len(report) == 2


# Crops and views


@pytest.mark.parametrize(
    "size, target", [((96, 80), (32, 32)), ((80, 97), (32, 48)), ((20, 31), (64, 32)), ((999, 40), (32, 32))]
)
def test_centre_crop_is_truly_centred(size, target):
    image = picture(*size)
    crop = centre_crop(image, target)
    assert crop.size == target
    for turn in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        assert_close(centre_crop(image.transpose(turn), target), crop.transpose(turn), 3)


def test_centre_crop_covers_the_size_and_shows_as_much_as_fits():
    image = Image.new("RGB", (90, 30), RED)
    image.paste(GREEN, (30, 0, 60, 30))  # exactly the middle square
    for side in (30, 8, 60):
        inner = pixels(centre_crop(image, (side, side)))
        assert (inner[:, side // 8 + 1 : -side // 8 - 1] == GREEN).all()
    assert centre_crop(image, (30, 30)).tobytes() == image.crop((30, 0, 60, 30)).tobytes()
    wide = pixels(centre_crop(image, (90, 24)))
    assert (wide[:, 0] == RED).all() and (wide[:, -1] == RED).all()


def test_centre_crop_averages_blocks_of_a_much_larger_photo():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8))
    assert centre_crop(noise, (32, 32)).tobytes() == noise.crop((16, 0, 144, 128)).reduce(4).tobytes()


def draw(image, count=12, size=(40, 40), seed=3, shift=0.1, scale=0.8, flip=False):
    return photo_views(image, size, count, seed, shift, scale, flip)


def test_views_depend_on_seed_and_number_alone():
    image, state = picture(), random.getstate()
    few, many = draw(image, 3), draw(image, 6)
    assert [v.tobytes() for v in few] == [v.tobytes() for v in many[:3]]
    assert random.getstate() == state
    assert len({v.tobytes() for v in many}) == 6
    assert draw(image, 1, seed=4)[0].tobytes() != few[0].tobytes()
    assert all(v.size == (40, 24) for v in draw(image, 3, size=(40, 24)))


def test_views_without_freedom_are_the_centre_crop():
    for image in (picture(), picture(30, 200), picture(20, 20)):
        crop = centre_crop(image, (40, 40)).tobytes()
        assert all(v.tobytes() == crop for v in draw(image, 3, shift=0, scale=1))


def test_flips_mirror_about_half_and_change_nothing_else():
    plain, flipped = draw(picture(), 40), draw(picture(), 40, flip=True)
    mirrored = [a.tobytes() != b.tobytes() for a, b in zip(plain, flipped, strict=True)]
    assert 10 < sum(mirrored) < 30
    for before, after, turned in zip(plain, flipped, mirrored, strict=True):
        assert not turned or after.tobytes() == before.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()


def spot(image):
    """Centre and side of the dark square, in pixels."""
    dark = 1 - pixels(image)[..., 0] / 255
    ys, xs = np.mgrid[: image.height, : image.width] + 0.5
    return (dark * xs).sum() / dark.sum(), (dark * ys).sum() / dark.sum(), dark.sum() ** 0.5


def test_views_move_and_scale_within_their_limits_and_reach_them():
    image = Image.new("RGB", (160, 160), WHITE)
    image.paste((0, 0, 0), (60, 60, 100, 100))
    found = np.array([spot(v) for v in draw(image, 80, (80, 80), shift=0.1, scale=0.8)])
    offsets, zooms = found[:, :2] - 40, found[:, 2] / 20
    assert np.abs(offsets).max() <= 8.1 and (offsets.max(0) > 5).all() and (offsets.min(0) < -5).all()
    assert zooms.min() >= 0.795 and zooms.max() <= 1.255 and zooms.min() < 0.85 and zooms.max() > 1.18


def test_views_take_real_pixels_first_and_then_repeat_the_edge():
    """A wide photo: green beside its middle, and only the photo's edge above (blue) and below (red)."""
    image = Image.new("RGB", (200, 40), GREEN)
    image.paste(BLUE, (80, 0, 120, 20))
    image.paste(RED, (80, 20, 120, 40))
    shown = [pixels(v) for v in draw(image, 30, shift=0.3, scale=0.9)]
    assert any((v[:, 0] == GREEN).all() for v in shown) and any((v[:, -1] == GREEN).all() for v in shown)
    for v in shown:
        assert (v[0, 20] == BLUE).all() and (v[-1, 20] == RED).all()  # wrapped, black or mirrored would differ
        assert (v[:3] == v[0]).all() and (v[-3:] == v[-1]).all()


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"scale": 1.5}, {"shift": -0.1}])
def test_views_refuse_impossible_limits(wrong):
    with pytest.raises(ValueError, match="Views need"):
        draw(picture(), **wrong)


# Tensors and hashes


def test_stack_and_unstack_are_inverse():
    images = [picture(seed=i) for i in range(2)]
    tensor = stack(images)
    assert tensor.shape == (2, 80, 96, 3) and tensor.dtype == torch.float32
    assert tensor[1, 5, 7].tolist() == pytest.approx([v / 255 for v in images[1].getpixel((7, 5))])
    assert [i.tobytes() for i in unstack(tensor)] == [i.tobytes() for i in images]
    every = torch.arange(256).float().view(1, 16, 16, 1).expand(-1, -1, -1, 3) / 255
    assert (stack(unstack(every)) == every).all()


def test_unstack_rounds_to_the_nearest_and_clamps():
    tensor = torch.tensor([-1.0, 0.6 / 255, 2.0, 1.4 / 255]).view(1, 2, 2, 1).expand(-1, -1, -1, 3)
    assert pixels(unstack(tensor)[0])[..., 0].flatten().tolist() == [0, 1, 255, 1]
    assert unstack(tensor.bfloat16().requires_grad_())[0].mode == "RGB"


def test_pixel_hash_follows_pixels_and_their_order_but_not_files(tmp_path):
    a, b = picture(), picture(seed=1)
    a.save(tmp_path / "x.png")
    a.save(tmp_path / "y.bmp")
    named = [photo.image for photo in read_photos(tmp_path)[0]]
    assert pixel_hash(named[:1]) == pixel_hash(named[1:]) == pixel_hash([a])
    touched = a.copy()
    touched.putpixel((0, 0), tuple(255 - v for v in a.getpixel((0, 0))))
    reshaped = Image.frombytes("RGB", (80, 96), a.tobytes())
    hashes = [pixel_hash(i) for i in ([a], [touched], [reshaped], [a, b], [b, a], [b], [])]
    assert len(set(hashes)) == len(hashes)


def test_tensors_become_photos():
    batch = torch.zeros(2, 70, 80, 3)
    batch[1, ..., 0] = 1.7  # out of range, as filters of other tools leave it
    first, second = photos.tensor_photos([batch])
    assert (
        (first.name, second.name) == ("photo 1", "photo 2")
        and second.image.getpixel((5, 5)) == RED
        and first.image.size == (80, 70)
    )
    (grey,) = photos.tensor_photos([torch.full((9, 9, 1), 0.5)])
    assert grey.image.mode == "RGB" and grey.image.getpixel((0, 0)) == (128, 128, 128)
    (clear,) = photos.tensor_photos([torch.zeros(1, 4, 4, 4)])
    assert clear.image.getpixel((0, 0)) == WHITE
    for shape in ((1, 8, 8, 2), (1, 0, 8, 3), (8, 8)):
        with pytest.raises(PhotoError, match="no picture"):
            photos.tensor_photos([torch.zeros(shape)])
