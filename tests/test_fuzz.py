"""Whatever is read from a disk or typed ends in a result or in one sentence, however it was damaged.

The cases are drawn by hypothesis: in `make test` a few hundred, always the same; in `make fuzz` AR_FUZZ of them, anew
each time. The seed of such a run is among pytest's warnings, and AR_FUZZ_SEED repeats it.
"""

import argparse
import functools
import io
import json
import os
import signal
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from tiny import write_chameleon, write_lumina, write_meta
from toy import FAMILY, learned, toy_model, toy_subject

from ar_core import ARModel, SamplingSettings, TrainingSettings, cli
from ar_core.checkpoints.reader import read_pickle
from ar_core.commands import info, personalize, sample, score
from ar_core.dreambench.dataset import read_dataset
from ar_core.dreambench.encoders import OWN_ENCODERS, EncoderError, Encoders
from ar_core.dreambench.pictures import find_pictures_to_score
from ar_core.families.janus_pro import JANUS_PRO_1B
from ar_core.listing import named_inside
from ar_core.personalization import Personalization
from ar_core.photos import find_files, read_photos
from ar_core.text import (
    Identifier,
    check_class_name,
    check_identifier_name,
    plain_words,
    resolve_prompt,
    split_at_identifiers,
    without_identifier,
)
from ar_core.training.remembered import forget_runs, remembered_runs
from ar_core.training.settings import JOINT
from ar_core.training.stages import Stage
from ar_core.words import begins_with_noun
from benchmarks.common.janus_files import LAYOUTS, SMALL, write_janus

ROOT = Path(__file__).resolve().parents[1]
WANTED = int(os.environ.get("AR_FUZZ") or 0)
USUAL = 756  # cases in all where nothing is wanted: the numbers that `fuzzed` is given, added
SECONDS = 10.0  # in which every case must have ended; most take milliseconds
LONGEST = 6000  # letters of a message: nobody reads more


def chosen_seed() -> int:
    """The same in every process of one run of the tests."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(time.time())
    return int(os.environ.get("AR_FUZZ_SEED") or zlib.crc32(run.encode()))


SEED = chosen_seed()
if WANTED:
    warnings.warn(f"repeat these cases with AR_FUZZ={WANTED} AR_FUZZ_SEED={SEED}", stacklevel=1)


def fuzzed(usual: int) -> Callable[[Any], Any]:
    """Marks a test that is given `usual` cases in the normal suite, and its share of those that are wanted."""
    profile = settings(
        max_examples=max(1, round(usual * (WANTED or USUAL) / USUAL)),
        derandomize=not WANTED,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    if not WANTED:
        return profile
    return lambda test: hypothesis.seed(SEED)(profile(test))


# ---------------------------------------------------------------- the rule


class TooSlow(BaseException):
    """A case that has not ended in time; nothing catches it by the way."""


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """Raise TooSlow where the block takes longer, on systems and in threads that have an alarm."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TooSlow(f"not ended after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # again, where a callback swallowed the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(attempt: Callable[[], Any], *names: object, lines: bool = False) -> Any:
    """What `attempt` gives; None where it refused in one sentence that this project wrote and that holds `names`."""
    try:
        with in_time():
            return attempt()
    except (ValueError, RuntimeError, OSError) as error:
        assert is_our_own(error), f"{type(error).__name__} is not an error of this project: {error}"
        assert_one_sentence(str(error), names, lines)
    return None


def is_our_own(error: BaseException) -> bool:
    """Whether a `raise` in ar_core made it: what libraries and Python's own functions raise is not for users."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = type(error) is ValueError or type(error).__module__.startswith("ar_core.")
    return ours and Path(last.filename).is_relative_to(ROOT / "ar_core") and (last.line or "").startswith("raise")


def assert_one_sentence(message: str, names: tuple[object, ...] = (), lines: bool = False) -> None:
    """Something that a person can read at once. `lines`: where it may quote what has several."""
    assert message.strip() and "Traceback" not in message and len(message) <= LONGEST, message[:LONGEST]
    for name in names:
        assert str(name) in message, message
        message = message.replace(str(name), "")
    assert lines or "\n" not in message, message


@contextmanager
def a_folder() -> Iterator[Path]:
    """An empty folder, in which nothing half-written may be left, beside a file that must stay as it is."""
    with tempfile.TemporaryDirectory() as base:
        outside = Path(base, "outside.txt")
        outside.write_text("mine", encoding="utf-8")
        folder = Path(base, "folder")
        folder.mkdir()
        yield folder
        assert sorted(os.listdir(base)) == ["folder", "outside.txt"]
        assert outside.read_text(encoding="utf-8") == "mine"
        assert not [path for path in folder.rglob("*") if path.name.endswith((".partial", ".writing"))]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(path: Path, content: bytes) -> Path:
    """A new file; a link that has its name is not written through. Skips the case where the system has no such name."""
    try:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    except (OSError, ValueError):
        assume(False)
    return path


# ---------------------------------------------------------------- what is typed

ODD_LETTERS = "[]{}()<>\\/:;%,.\"'|*?-_ \n\t\r\0\ud800\udcff\u200b\u2028\u0301²٣ßİ狗é"
LETTERS = st.one_of(st.sampled_from(ODD_LETTERS), st.characters())
PIECES = (
    "[V]",
    "[W]",
    "[V]x",
    "[",
    "]",
    "(",
    ":1)",
    "<lora:",
    "<image>",
    "<s>",
    "{}",
    "{prompt}",
    " dog",
    "-",
    "ß",
    " ",
)
LONG = 100_000 if WANTED else 10_000  # letters
TEXTS = st.one_of(
    st.text(LETTERS, max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.builds(lambda piece: (piece * LONG)[:LONG], st.sampled_from(PIECES)),
    st.builds(lambda piece: (piece * LONG)[:LONG], st.text(LETTERS, min_size=1, max_size=3)),
)
SHORT = st.one_of(st.text(LETTERS, max_size=12), st.sampled_from(("dog", "coffee mug", "-", "_", "V", "[V]", "[]")))
FILE_NAMES = st.one_of(
    st.text(LETTERS.filter(lambda letter: letter not in "/\\\0\r\n"), min_size=1, max_size=30),
    st.sampled_from(("a", "a b", "狗", "2", "²", "٣", "1" * 120, "-x", "%s", "{}")),
)
WHOLE = st.one_of(st.integers(-3, 70), st.sampled_from((10**18, -(10**18), 10**30, 10**400, 2**63, 2**64)))
REAL = st.one_of(st.floats(), st.floats(-2, 2), st.sampled_from((1e308, 5e-324, -0.0)))
ODD_NUMBERS = ("", " ", "nan", "-inf", "1e400", "-0", "1.5", "1_0", "٣", "²", "0x10", "1e3", "9" * 5000, "[", "\ud800")
SIZES = st.one_of(st.builds("{}x{}".format, WHOLE, WHOLE), st.sampled_from(("x", "1x", "²x²", "1x1x1", "768X512")))
NUMBERS = st.one_of(WHOLE.map(str), REAL.map(str), SIZES, st.sampled_from(ODD_NUMBERS))

# ---------------------------------------------------------------- damage


@dataclass(frozen=True)
class Nothing:
    """A file as it should be."""

    def __call__(self, content: bytes) -> bytes:
        return content


@dataclass(frozen=True)
class Bytes:
    """Changes one after the other: what is done, where (0 the beginning, 1 the end), with which bytes."""

    changes: list[tuple[str, float, bytes]]

    def __call__(self, content: bytes) -> bytes:
        for what, where, new in self.changes:
            start = round(len(content) * where)
            behind = {
                "flip": bytes(byte ^ new[0] for byte in content[start : start + 1]) + content[start + 1 :],
                "cut": b"",
                "insert": new + content[start:],
                "overwrite": new + content[start + len(new) :],
                "drop": content[start + len(new) :],
            }
            content = content[:start] + behind[what]
        return content


@dataclass(frozen=True)
class Chunks:
    """As `Bytes`, with the checksums of a PNG made right again, so that more than they is tested."""

    damage: Bytes

    def __call__(self, content: bytes) -> bytes:
        content = self.damage(content)
        repaired = bytearray(content)
        start = 8
        while start + 12 <= len(content):
            end = start + 8 + int.from_bytes(content[start : start + 4], "big")
            repaired[end : end + 4] = zlib.crc32(content[start + 4 : end]).to_bytes(4, "big")[: len(content) - end]
            start = end + 4
        return bytes(repaired[: len(content)])


@dataclass(frozen=True)
class Json:
    """One item, found by going down by `places`, removed or replaced by `odd`."""

    places: list[int]
    odd: object

    def __call__(self, content: bytes) -> bytes:
        return json.dumps(self.changed(json.loads(content))).encode()

    def changed(self, value: Any) -> Any:
        """`value` with that item changed."""
        above, key, node = None, None, value
        for place in self.places:
            if not isinstance(node, dict | list) or not node:
                break
            above, key = node, place % len(node)
            if isinstance(node, dict):
                key = list(node)[key]
            node = node[key]
        if above is None:
            return self.odd
        if self.odd == "removed":
            del above[key]
        else:
            above[key] = self.odd
        return value


@dataclass(frozen=True)
class Nested:
    """JSON that no reader can go down to the end of."""

    def __call__(self, content: bytes) -> bytes:
        return b"[" * LONG


@dataclass(frozen=True)
class Header:
    """A damaged header of a safetensors file, with its length right. `checksum`: whether the checksums are kept."""

    damage: Json
    checksum: bool

    def __call__(self, content: bytes) -> bytes:
        header, values = split_tensors(content)
        if not self.checksum:
            for key in ("checksum", "header_checksum"):
                header.get("__metadata__", {}).pop(key, None)
        return join_tensors(self.damage.changed(header), values)


@dataclass(frozen=True)
class Recast:
    """One tensor of another type and shape, with the same bytes, in a file that says nothing of such changes."""

    place: int
    kind: str
    shape: Callable[[int], list[int]]

    def __call__(self, content: bytes) -> bytes:
        header, values = split_tensors(content)
        header.get("__metadata__", {}).pop("header_checksum", None)
        names = [name for name in header if name != "__metadata__"]
        entry = header[names[self.place % len(names)]]
        begin, end = entry["data_offsets"]
        entry |= {"dtype": self.kind, "shape": self.shape(int((end - begin) / WIDTHS[self.kind]))}
        return join_tensors(header, values)


@dataclass(frozen=True)
class Pickle:
    """The pickle inside a file of torch, which is a zip that checks itself: its checksums are made right again."""

    damage: Bytes

    def __call__(self, content: bytes) -> bytes:
        whole = zipfile.ZipFile(io.BytesIO(content))
        changed = io.BytesIO()
        with zipfile.ZipFile(changed, "w") as written:
            for name in whole.namelist():
                part = whole.read(name)
                if name.endswith("data.pkl"):
                    part = self.damage(part)
                written.writestr(name, part)
        return changed.getvalue()


@dataclass(frozen=True)
class Item:
    """One item of the state dict in a file of torch under another name, or in its place something that is no tensor."""

    place: int
    odd: object
    is_name: bool

    def __call__(self, content: bytes) -> bytes:
        whole = torch.load(io.BytesIO(content), weights_only=True)
        values = whole["state_dict"]
        name = list(values)[self.place % len(values)]
        if self.is_name:
            values[self.odd] = values.pop(name)
        else:
            values[name] = self.odd
        changed = io.BytesIO()
        torch.save(whole, changed)
        return changed.getvalue()


WIDTHS = {"F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F64": 8, "C64": 8, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E8M0": 1}


def flat(count: int) -> list[int]:
    return [count]


def row(count: int) -> list[int]:
    return [1, count]


def column(count: int) -> list[int]:
    return [count, 1]


def split_tensors(content: bytes) -> tuple[Any, bytes]:
    """A safetensors file's header and values."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join_tensors(header: object, values: bytes) -> bytes:
    """The inverse of `split_tensors`."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


ODD_VALUES = (None, True, 0, -1, 7, 1.5, 2**31, 10**30, 1e308, float("nan"), "", "x", "{", "nan", "dog", "[V]", "狗")
ODD = st.one_of(
    st.just("removed"),
    st.sampled_from((*ODD_VALUES, "x" * 300, [], {}, [1], [[]], {"a": {}}, [None], "[" * 2000, *WIDTHS)),
    st.text(LETTERS.filter(lambda letter: letter != "\n" and not "\ud800" <= letter <= "\udfff"), max_size=9),
)
# Damage near the beginning, where headers are, tells more.
WHERE = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.integers(0, 40).map(lambda percent: (percent / 100) ** 3))
CHANGES = st.tuples(
    st.sampled_from(("flip", "cut", "insert", "overwrite", "drop")), WHERE, st.binary(min_size=1, max_size=9)
)
BYTES = st.builds(Bytes, st.lists(CHANGES, min_size=1, max_size=4))
JSON = st.builds(Json, st.lists(st.integers(0, 40), min_size=1, max_size=4), ODD)
JSON_FILES = st.one_of(JSON, BYTES, st.just(Nested()))
RECAST = st.builds(Recast, st.integers(0, 40), st.sampled_from(sorted(WIDTHS)), st.sampled_from((flat, row, column)))
TENSORS = st.one_of(BYTES, st.builds(Header, JSON, st.booleans()), RECAST)
# Where a pickle is damaged, a byte of it: most of what is longer is noticed at once.
IN_PICKLE = st.builds(
    Bytes, st.lists(st.tuples(st.just("overwrite"), st.floats(0, 1), st.binary(min_size=1, max_size=2)), min_size=1)
)
ODD_ITEMS = st.sampled_from((None, 3, "x", [1], {}, torch.zeros(3), torch.zeros(2, 2).to_sparse(), 2.5))
ODD_NAMES = st.sampled_from((None, 3, "x", "", ("a", 1), "quantize.embedding.weight"))
PICKLES = st.one_of(
    BYTES,
    st.builds(Pickle, IN_PICKLE),
    st.builds(Item, st.integers(0, 200), ODD_ITEMS, st.just(False)),
    st.builds(Item, st.integers(0, 200), ODD_NAMES, st.just(True)),
)
PICTURE = st.one_of(BYTES, st.builds(Chunks, BYTES), st.just(Nothing()))


def damaged(damage: Callable[[bytes], bytes], content: bytes) -> bytes:
    """What `damage` makes of `content`; skips the case where it does not apply."""
    try:
        return damage(content)
    except (KeyError, AttributeError, TypeError):
        assume(False)
        raise


# ---------------------------------------------------------------- photos


@functools.cache
def pictures() -> dict[str, bytes]:
    """Whole files of every format, by their suffix."""
    image = Image.linear_gradient("L").resize((70, 66)).convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngInfo()
    text.add_itxt("prompt", "a [V] dog")
    text.add_text("note", "x", zip=True)
    found = {path.name: path.read_bytes() for path in (ROOT / "tests" / "fixtures" / "photos").glob("*.heic")}
    found["deep.png"] = encoded(Image.new("I;16", (70, 66), 700), "PNG")
    found["few.png"] = encoded(image.quantize(8), "PNG", transparency=1)
    found["all.png"] = encoded(image, "PNG", pnginfo=text, icc_profile=profile, exif=exif)
    found["a.jpg"] = encoded(image, "JPEG", icc_profile=profile, exif=exif)
    found["ink.jpg"] = encoded(image.convert("CMYK"), "JPEG")
    found["a.webp"] = encoded(image, "WEBP", exif=exif)
    found["float.tiff"] = encoded(Image.new("F", (70, 66), 0.5), "TIFF")
    found["a.tif"] = encoded(image, "TIFF", compression="tiff_lzw", exif=exif)
    found["a.gif"] = encoded(image, "GIF", save_all=True, append_images=[image.rotate(90)])
    found["a.bmp"] = encoded(image, "BMP")
    return found


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """The content of a picture file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


NAMED_PICTURES = st.lists(
    st.tuples(FILE_NAMES, st.sampled_from(sorted(pictures())), PICTURE),
    min_size=1,
    max_size=3,
    unique_by=lambda f: f[0],
)


@fuzzed(100)
@given(files=NAMED_PICTURES)
def test_photos(files):
    with a_folder() as folder:
        for name, kind, damage in files:
            put(folder / f"{name}{Path(kind).suffix}", damaged(damage, pictures()[kind]))
        before = contents(folder)
        found = outcome(lambda: read_photos(folder), folder)
        if found:
            photos, report = found
            assert len(report) == len(before) and len(photos) <= len(report)
            assert all(photo.image.mode == "RGB" and photo.image.size == photo.size for photo in photos)
            for line in report:
                name = next(name for name in before if line.startswith(f"{name}: "))
                assert_one_sentence(line.removeprefix(f"{name}: "))
        assert contents(folder) == before


@fuzzed(20)
@given(name=st.one_of(TEXTS, st.sampled_from(("\0", "x" * 300, "a/" * 3000, "~", "."))))
def test_names_of_photos(name):
    outcome(lambda: find_files([name]))
    outcome(lambda: Personalization.load(name))


@fuzzed(20)
@given(name=TEXTS)
def test_names_inside_a_folder(name):
    with a_folder() as folder:
        put(folder / "a", b"")
        found = outcome(lambda: named_inside(folder, name))
        assert found is None or Path(os.path.abspath(found)).is_relative_to(folder) and found != folder


# ---------------------------------------------------------------- personalization files


@functools.cache
def model() -> ARModel:
    return toy_model()


@functools.cache
def subject_files() -> dict[str, bytes]:
    """A whole file of every method."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            method: learned(model(), method).save(Path(folder, method)).read_bytes()
            for method in ("lora", "full", "embedding")
        }


@fuzzed(80)
@given(method=st.sampled_from(("lora", "full", "embedding")), damages=st.lists(TENSORS, min_size=1, max_size=2))
def test_personalization_files(method, damages):
    content = subject_files()[method]
    for damage in damages:
        try:
            content = damaged(damage, content)
        except (ValueError, IndexError, ZeroDivisionError):  # the first damage left no file that the second is for
            assume(False)
    with a_folder() as folder:
        path = put(folder / "a.safetensors", content)
        loaded = outcome(lambda: Personalization.load(path), path)
        if loaded is not None:
            use(loaded, folder)
        assert path.read_bytes() == content


def use(loaded: Personalization, folder: Path) -> None:
    """Say what it is, apply it, draw with it and save it, as the commands do."""
    with redirect_stdout(io.StringIO()):
        info.describe_personalization(loaded)
    assert str(loaded)
    loaded.save_beside(folder / "again")
    applied = outcome(lambda: model().personalized(loaded))
    if applied is not None:
        prompt = f"a photo of {applied.identifiers[0].name}"
        outcome(lambda: applied.generate([prompt], SamplingSettings.resolve(FAMILY)))


# ---------------------------------------------------------------- checkpoints


@functools.cache
def checkpoints() -> tempfile.TemporaryDirectory:
    """A small one of every layout, which nobody writes to."""
    base = tempfile.TemporaryDirectory()
    write_lumina(Path(base.name, "lumina"), shards=2)
    write_chameleon(Path(base.name, "chameleon"))
    meta = write_lumina(Path(base.name, "meta"))
    (meta / "vqgan.safetensors").unlink()
    write_meta(meta / "chameleon" / "tokenizer")
    for name, layout in LAYOUTS.items():
        write_janus(Path(base.name, f"janus {name}"), JANUS_PRO_1B, layout, SMALL)
    return base


FILES = {
    "lumina/config.json": JSON_FILES,
    "lumina/model.safetensors.index.json": JSON_FILES,
    "lumina/tokenizer.json": JSON_FILES,
    "lumina/model-00001-of-00002.safetensors": TENSORS,
    "lumina/vqgan.safetensors": TENSORS,
    "chameleon/config.json": JSON_FILES,
    "chameleon/model.safetensors": TENSORS,
    "meta/chameleon/tokenizer/vqgan.ckpt": PICKLES,
    "janus deepseek-ai/config.json": JSON_FILES,
    "janus deepseek-ai/pytorch_model.bin.index.json": JSON_FILES,
    "janus deepseek-ai/pytorch_model-00001-of-00002.bin": PICKLES,
    "janus deepseek-ai/tokenizer.json": JSON_FILES,
    "janus transformers/config.json": JSON_FILES,
    "janus transformers/model.safetensors": TENSORS,
}


@fuzzed(16)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_checkpoints(data, name):
    layout, _, file = name.partition("/")
    damage = data.draw(FILES[name])
    source = Path(checkpoints().name, layout)
    with a_folder() as folder:
        linked(source, folder)
        put(folder / file, damaged(damage, (source / file).read_bytes()))
        loaded = outcome(lambda: ARModel.load(folder))
        if loaded is not None:
            outcome(lambda: loaded.check_prompt("a photo of a dog", loaded.family.recipe.size))


@fuzzed(24)
@given(damage=PICKLES)
def test_pickles(damage):
    source = Path(checkpoints().name, "meta", "chameleon", "tokenizer", "vqgan.ckpt")
    with a_folder() as folder:
        path = put(folder / "vqgan.ckpt", damaged(damage, source.read_bytes()))
        values = outcome(lambda: read_pickle(path, "state_dict"), path)
        for name, value in (values or {}).items():
            assert isinstance(name, str) and value.tolist() is not None


def linked(source: Path, folder: Path) -> None:
    """Every file of `source` in `folder`, without copying megabytes."""
    for path in source.rglob("*"):
        place = folder / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            os.link(path, place)


# ---------------------------------------------------------------- remembered trainings


def train(root: Path, steps: int):
    chosen = TrainingSettings.resolve(FAMILY, rank=2, prior_preservation=True, prior_images=2)
    return Stage(model(), toy_subject(), chosen, root, JOINT, samples=1).train(steps)


def learned_values(root: Path, steps: int) -> dict[str, torch.Tensor]:
    """What a training of so many steps gives."""
    return train(root, steps).personalization._tensors()


@functools.cache
def training() -> tuple[dict[str, bytes], dict[int, dict[str, torch.Tensor]]]:
    """All files of a training of three steps, and what it and a longer one learn."""
    with tempfile.TemporaryDirectory() as root:
        values = {3: learned_values(Path(root), 3)}
        files = contents(Path(root))
        values[4] = learned_values(Path(root), 4)
    return files, values


@fuzzed(40)
@given(places=st.lists(st.tuples(st.integers(0, 20), TENSORS), min_size=1, max_size=3), steps=st.sampled_from((3, 4)))
def test_remembered_trainings(places, steps):
    files, values = training()
    with a_folder() as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for place, damage in places:
            name = sorted(files)[place % len(files)]
            if not name.endswith(".safetensors") and not isinstance(damage, Bytes):
                damage = Nested()
            put(folder / name, damaged(damage, files[name]))
        assert remembered_runs(folder)
        again = outcome(lambda: learned_values(folder, steps))
        assert again is not None
        assert all(torch.equal(value, values[steps][name]) for name, value in again.items())
        assert forget_runs(folder) == 2 and not contents(folder)


# ---------------------------------------------------------------- tables, data sets and scorers

TABLE = b"file,subject,prompt\na.png,dog,a [V] dog\nsub/a.png,cat,a cat\n"
CELLS = st.one_of(st.sampled_from(("a.png", "../outside.txt", "x" * 300, "", '"', "\0", "/", ".")), SHORT)
ROWS = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=4)
TABLES = st.one_of(
    BYTES.map(lambda damage: damage(TABLE)),
    ROWS.map(lambda rows: "\n".join(["file,subject,prompt", *rows]).encode("utf-8", "surrogatepass")),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@fuzzed(60)
@given(table=st.none() | TABLES, picture=PICTURE, kind=st.sampled_from(("all.png", "a.jpg", "a.webp")), stem=FILE_NAMES)
def test_pictures_to_score(table, picture, kind, stem):
    with a_folder() as folder:
        (folder / "sub").mkdir()
        for name in ("a.png", "sub/a.png", f"sub/{stem}__0.png"):
            put(folder / name, damaged(picture, pictures()[kind]))
        if table is not None:
            put(folder / "pictures.csv", table)
        found = outcome(lambda: find_pictures_to_score(folder, subject="dog"), lines=True)
        for picture in found or []:
            assert picture.subject and isinstance(picture.prompt, str)
            outcome(picture.open, picture.path, lines=True)


PROMPTS = (
    "subject_name,class\ndog,dog\ncat,cat\n\nPrompts\n\nObject Prompts\nx = ['a {0} {1} here'.format(a, b)]\n"
    "Live Subject Prompts\nx = ['a {0} {1} there'.format(a, b)]\n"
)
CLASSES = st.lists(
    st.sampled_from(("dog,dog", "cat,", "x" * 300 + ",cat", "..,dog", "-,-", "dog,[V]")) | SHORT, max_size=5
)
DATA_SETS = st.one_of(
    BYTES.map(lambda damage: damage(PROMPTS.encode())),
    CLASSES.map(lambda lines: ("\n".join(lines) + PROMPTS).encode("utf-8", "surrogatepass")),
    TEXTS.map(lambda text: (text + PROMPTS).encode("utf-8", "surrogatepass")),
)


@fuzzed(30)
@given(content=DATA_SETS)
def test_data_sets(content):
    with a_folder() as folder:
        for name in ("dog", "cat"):
            (folder / name).mkdir()
            put(folder / name / "0.png", pictures()["few.png"])
        put(folder / "prompts_and_classes.txt", content)
        data = outcome(lambda: read_dataset(folder, ["dog"]))
        for subject in data.subjects if data else ():
            for prompt in data.prompts(subject):
                assert prompt.plain(subject.class_name) and prompt.personal(subject.class_name) and prompt.capability


@functools.cache
def scorers() -> tempfile.TemporaryDirectory:
    """Small random encoders, which nobody writes to."""
    from tiny_encoders import write_encoders

    base = tempfile.TemporaryDirectory()
    write_encoders(Path(base.name))
    return base


SCORER_FILES = {
    "dino/config.json": JSON_FILES,
    "dino/model.safetensors": TENSORS,
    "clip/config.json": JSON_FILES,
    "clip/tokenizer.json": JSON_FILES,
    "clip/tokenizer_config.json": JSON_FILES,
    "clip/model.safetensors": TENSORS,
}


@fuzzed(6)
@given(data=st.data(), name=st.sampled_from(sorted(SCORER_FILES)))
def test_scorers(data, name):
    damage = data.draw(SCORER_FILES[name])
    source = Path(scorers().name)
    with a_folder() as folder:
        linked(source, folder)
        put(folder / name, damaged(damage, (source / name).read_bytes()))
        choice = replace(OWN_ENCODERS, vit=folder / "dino", clip=folder / "clip")
        loaded = outcome(lambda: Encoders.load(choice), folder / name.partition("/")[0])
        if loaded is not None:
            outcome(lambda: (loaded.embed_images([Image.new("RGB", (70, 66))]), loaded.embed_texts(["a dog"])))


# ---------------------------------------------------------------- prompts and names


@fuzzed(80)
@given(prompt=TEXTS, class_name=SHORT, name=SHORT, dropped=st.booleans())
def test_prompts(prompt, class_name, name, dropped):
    class_name = outcome(lambda: check_class_name(class_name)) or "dog"
    name = outcome(lambda: check_identifier_name(name)) or "[V]"
    subject = replace(learned(model(), "embedding"), class_name=class_name)
    applied = outcome(lambda: model().personalized(subject, 0.0 if dropped else 1.0, name=name))
    outcome(lambda: applied.check_prompt(prompt.replace("[V]", name), FAMILY.recipe.size))
    outcome(lambda: applied.text.unknown_words(prompt))
    identifier = Identifier(name, class_name, 0, 1, dropped)
    outcome(lambda: resolve_prompt(prompt.replace("[V]", name), [identifier]))
    pieces = outcome(lambda: split_at_identifiers(prompt, [identifier]))
    assert "".join(str(getattr(piece, "name", piece)) for piece in pieces) == prompt
    outcome(lambda: without_identifier(prompt, class_name))


@fuzzed(60)
@given(text=TEXTS, noun=st.one_of(SHORT, TEXTS))
def test_words(text, noun):
    outcome(lambda: plain_words(text))
    outcome(lambda: check_class_name(text))
    outcome(lambda: check_identifier_name(text))
    noun = outcome(lambda: check_class_name(noun)) or "dog"
    assert outcome(lambda: begins_with_noun(text, noun)) in (True, False)


# ---------------------------------------------------------------- settings


@fuzzed(60)
@given(cfg=REAL, top_k=WHOLE, temperature=REAL, size=st.none() | st.tuples(WHOLE, WHOLE), seed=WHOLE, window=WHOLE)
def test_sampling_settings(cfg, top_k, temperature, size, seed, window):
    chosen = dict(cfg=cfg, top_k=top_k, temperature=temperature, size=size, seed=seed, window=window)
    resolved = outcome(lambda: SamplingSettings.resolve(FAMILY, **chosen))
    if resolved is not None:
        assert resolved.size in FAMILY.sizes and 1 <= resolved.top_k <= FAMILY.codes
    for name, value in chosen.items():
        outcome(lambda name=name, value=value: SamplingSettings.resolve(FAMILY, **{name: value}))


TRAINING = {
    **dict.fromkeys(("embedding_steps", "layer_steps", "rank", "vectors", "prior_images"), WHOLE),
    **dict.fromkeys(("batch_size", "micro_batch", "seed"), WHOLE),
    **dict.fromkeys(("embedding_learning_rate", "layer_learning_rate", "clip_norm", "prior_weight"), REAL),
    **dict.fromkeys(("strategy", "method", "initialisation", "x"), SHORT),
}


@fuzzed(60)
@given(chosen=st.fixed_dictionaries({}, optional=TRAINING))
def test_training_settings(chosen):
    outcome(lambda: TrainingSettings.resolve(FAMILY, **chosen))
    for name, value in chosen.items():
        outcome(lambda name=name, value=value: TrainingSettings.resolve(FAMILY, **{name: value}))


# ---------------------------------------------------------------- the command line


class FewSteps:
    """In place of Ctrl-C: says so after a moment's work."""

    def __init__(self) -> None:
        self.left = 20

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def no_scorers(*_: object) -> Encoders:
    raise EncoderError("There are no encoders here.")


@contextmanager
def cheap_commands() -> Iterator[None]:
    """The toy in place of the miniature that ships, no scorers, and trainings that are stopped soon."""
    load = ARModel.load

    def load_toy(path: object, *arguments: Any, **options: Any) -> ARModel:
        return model() if str(path) == "miniature" else load(path, *arguments, **options)

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ARModel, "load", load_toy)
        patch.setattr(sample, "Interruption", FewSteps)
        patch.setattr(personalize, "Interruption", FewSteps)
        patch.setattr(score, "load_encoders", no_scorers)
        yield
    torch.set_num_threads(threads)


def run_command(arguments: list[str]) -> int:
    """Its exit code. What it says of an error must be one line."""
    said = io.StringIO()
    with cheap_commands(), redirect_stdout(io.StringIO()), redirect_stderr(said), in_time():
        try:
            code = cli.main(arguments)
        except SystemExit as stopped:  # argparse
            code = stopped.code
    assert code in (0, 1, 2, cli.STOPPED), code
    before, found, message = said.getvalue().partition("error: ")
    assert bool(found) == (code in (1, 2)) and "Traceback" not in said.getvalue()
    if found:
        assert_one_sentence(message.rstrip("\n"))
        assert code == 2 or before.endswith("\n") or not before
    return code


def options_of(command: str) -> Mapping[str, argparse.Action]:
    """Those that take one word, by their flags."""
    [commands] = [action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = commands.choices[command]._actions
    return {action.option_strings[0]: action for action in actions if action.option_strings and action.nargs is None}


def numeric(command: str) -> list[str]:
    """The flags whose value is a number or a size."""
    return [flag for flag, action in options_of(command).items() if action.type not in (None, str, Path)]


BASIC = {
    "sample": ["--prompt", "a photo of dog", "--out", "{folder}/out"],
    "personalize": ["--photos", "{folder}", "--class-name", "dog", "--out", "{folder}/out/a", "--embedding-steps", "1"],
    "dreambench": ["--data", "drawings", "--dry-run", "--no-scores", "--out", "{folder}/out"],
    "info": [],
    "score": ["--images", "{folder}", "--photos", "{folder}", "--out", "{folder}/out"],
    "forget": ["{folder}/absent"],
}


@st.composite
def command_lines(draw: Any) -> list[str]:
    """A command that works (or, for the last two, is refused), with one or two odd values."""
    command = draw(st.sampled_from(sorted(BASIC)))
    arguments = [command, *BASIC[command]]
    flags = sorted(options_of(command)) or ["--odd"]
    for _ in range(draw(st.integers(1, 2))):
        arguments.append(f"{draw(st.sampled_from(flags))}={draw(WORDS)}")
    return arguments


@st.composite
def numbers_on_command_lines(draw: Any) -> list[str]:
    """A command that works, with an odd value of one of its numbers."""
    command = draw(st.sampled_from(("sample", "personalize", "dreambench")))
    options = options_of(command)
    flag = draw(st.sampled_from(numeric(command)))
    usual = {int: WHOLE.map(str), float: REAL.map(str)}.get(options[flag].type, SIZES)
    return [command, *BASIC[command], f"{flag}={draw(usual | NUMBERS)}"]


WORDS = st.one_of(
    st.text(LETTERS.filter(lambda letter: letter not in "\0\n\r"), max_size=20),
    st.sampled_from(
        ("meta", "cuda:99", "cpu:3", "mps", "xpu", "privateuseone", "vulkan:0", "x" * 300, "{folder}/a.png")
    ),
    st.sampled_from(("{folder}", "{folder}/../outside.txt", "{folder}/a.png/b", "/dev/null", "0,x", "[V]", "dog", ",")),
)


@fuzzed(90)
@given(arguments=command_lines() | numbers_on_command_lines())
def test_command_lines(arguments):
    with a_folder() as folder:
        put(folder / "a.png", pictures()["all.png"])
        here = os.getcwd()
        os.chdir(folder)  # names that are no whole path are made here
        try:
            run_command([word.replace("{folder}", str(folder)) for word in arguments])
        finally:
            os.chdir(here)


@fuzzed(10)
@given(
    files=st.lists(
        st.tuples(st.sampled_from(("run.json", "state.safetensors", "a")), st.binary(max_size=30)), max_size=3
    )
)
def test_what_is_forgotten(files):
    with a_folder() as folder:
        (folder / "runs" / "dog-joint-0").mkdir(parents=True)
        put(folder / "runs" / "mine.txt", b"mine")
        for name, content in files:
            put(folder / "runs" / "dog-joint-0" / name, content)
        os.symlink(folder.parent, folder / "runs" / "dog-joint-0" / "link")
        assert run_command(["forget", str(folder / "runs")]) == 0
        assert (folder / "runs" / "mine.txt").is_file()
