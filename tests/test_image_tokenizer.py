"""The VQGAN against transformers' encoder and against a plain functional decoder."""

import weakref

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ar_core import memory
from ar_core.architecture import ImageTokenizerConfig
from ar_core.image_tokenizer import strips
from ar_core.image_tokenizer.vqgan import ImageTokenizer

SMALL = ImageTokenizerConfig(ch=32, ch_mult=(1, 1, 2), num_res_blocks=2, z_channels=32, embed_dim=8, n_embed=64)


def random_tokenizer(config=SMALL, seed=0):
    torch.manual_seed(seed)
    model = ImageTokenizer(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.08)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


def test_codes_equal_transformers():
    from transformers import ChameleonVQVAE, ChameleonVQVAEConfig

    model = random_tokenizer()
    reference = ChameleonVQVAE(
        ChameleonVQVAEConfig(
            embed_dim=8,
            num_embeddings=64,
            latent_channels=32,
            resolution=32,
            base_channels=32,
            channel_multiplier=[1, 1, 2],
            num_res_blocks=2,
            attn_resolutions=None,
            double_latent=False,
        )
    ).eval()
    encoder = {k: v for k, v in model.state_dict().items() if not k.startswith("decoder.")}
    missing, unexpected = reference.load_state_dict(encoder, strict=False)
    assert not missing and not unexpected
    images = torch.rand(2, 32, 48, 3)
    with torch.no_grad():
        latents = reference.quant_conv(reference.encoder(images.movedim(-1, 1) * 2 - 1))
        expected = reference.quantize(latents)[-1].view(2, 8, 12)
    codes = model.encode(images)
    assert torch.equal(codes, expected)
    assert len(codes.unique()) > 10  # a reference that always says the same would prove nothing


def plain_decoder(w: dict[str, torch.Tensor], z: torch.Tensor, levels: int, blocks: int) -> torch.Tensor:
    """The decoder written out from the paper's description, straight on the state dict."""

    def conv(x, name, padding=1):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    def norm(x, name):
        return F.group_norm(x, 32, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)

    def swish(x):
        return x * torch.sigmoid(x)

    def residual(x, name):
        h = conv(swish(norm(x, f"{name}.norm1")), f"{name}.conv1")
        h = conv(swish(norm(h, f"{name}.norm2")), f"{name}.conv2")
        return h + (conv(x, f"{name}.nin_shortcut", 0) if f"{name}.nin_shortcut.weight" in w else x)

    def attention(x, name):
        h = norm(x, f"{name}.norm")
        b, c, height, width = h.shape
        q, k, v = (conv(h, f"{name}.{n}", 0).reshape(b, c, -1) for n in "qkv")
        scores = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / c**0.5, dim=-1)
        return x + conv(torch.einsum("bij,bcj->bci", scores, v).reshape(x.shape), f"{name}.proj_out", 0)

    h = conv(conv(z, "post_quant_conv", 0), "decoder.conv_in")
    h = residual(attention(residual(h, "decoder.mid.block_1"), "decoder.mid.attn_1"), "decoder.mid.block_2")
    for level in reversed(range(levels)):
        for block in range(blocks + 1):
            h = residual(h, f"decoder.up.{level}.block.{block}")
        if level:
            h = conv(h.repeat_interleave(2, 2).repeat_interleave(2, 3), f"decoder.up.{level}.upsample.conv")
    return conv(swish(norm(h, "decoder.norm_out")), "decoder.conv_out")


def test_the_decoder_equals_a_plain_one():
    model = random_tokenizer()
    codes = torch.randint(0, 64, (2, 5, 3))
    weights = model.state_dict()
    pixels = plain_decoder(weights, weights["quantize.embedding.weight"][codes].movedim(-1, 1), levels=3, blocks=2)
    expected = (pixels.movedim(1, -1) / 2 + 0.5).clamp(0, 1)
    images = model.decode(codes)
    assert images.shape == (2, 20, 12, 3) and images.std() > 0.01
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=1e-5)


def test_codes_are_the_nearest_rows():
    model = random_tokenizer()
    latents = torch.randn(1, 8, 4, 5)
    rows = model.quantize.embedding.weight
    for y in range(4):
        for x in range(5):
            distances = [(latents[0, :, y, x] - row).norm().item() for row in rows]
            assert model.quantize.nearest(latents)[0, y, x] == distances.index(min(distances))


@pytest.mark.parametrize("size", [(30, 32), (32, 31)])
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="multiples of 4"):
        random_tokenizer().encode(torch.rand(1, *size, 3))


def test_patches_round_trip_through_the_right_shapes():
    config = ImageTokenizerConfig(
        ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=16, patch=4, norm_groups=2
    )
    assert config.factor == 8
    model = random_tokenizer(config)
    codes = model.encode(torch.rand(1, 16, 24, 3))
    assert codes.shape == (1, 2, 3) and model.decode(codes).shape == (1, 16, 24, 3)


def test_chameleons_dimensions_have_the_published_numbers_of_parameters():
    model = ImageTokenizer(ImageTokenizerConfig(), device="meta")
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert (count(model), count(model.encoder), count(model.decoder)) == (68_718_467, 27_194_880, 39_294_851)
    assert model.config.factor == 16


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("numbers", [1, 3000, 20000])
@pytest.mark.parametrize("patch", [1, 2])
def test_strips_give_the_same_pixels_and_codes(numbers, patch, monkeypatch):
    model = random_tokenizer(ImageTokenizerConfig(32, (1, 1, 2), 2, 32, 8, 64, patch=patch))
    images, codes = torch.rand(2, 24, 40, 3), torch.randint(0, 64, (2, 7, 5))
    expected = model.encode(images), model.decode(codes)
    monkeypatch.setattr(strips, "STRIP", numbers)
    assert torch.equal(model.encode(images), expected[0])
    torch.testing.assert_close(model.decode(codes), expected[1], atol=1e-5, rtol=1e-5)


def test_strips_keep_out_of_training(monkeypatch):
    monkeypatch.setattr(strips, "STRIP", 1)
    model = random_tokenizer()
    model.reconstruct(torch.randn(1, 8, 5, 3)).square().sum().backward()
    assert all(p.grad is not None for p in model.decoder.parameters())


class Peak(TorchDispatchMode):
    """Bytes of the tensors that lived at the same time, at most."""

    def __init__(self):
        super().__init__()
        self.living, self.most = {}, 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.living:
                storage = tensor.untyped_storage()
                self.living[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.living.pop, storage._cdata)
                self.most = max(self.most, sum(self.living.values()))
        return result


@pytest.mark.parametrize("strip", [2**14, 2**16])
def test_an_image_takes_no_more_memory_than_announced(strip, monkeypatch):
    config = ImageTokenizerConfig(ch=64, ch_mult=(1, 1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=16)
    model, size = random_tokenizer(config), (128, 96)
    plain, tight = Peak(), Peak()
    codes = torch.randint(0, 16, (1, 24, 32))
    with plain:
        model.decode(codes)
    monkeypatch.setattr(strips, "STRIP", strip)
    monkeypatch.setattr(memory, "STRIP", strip)
    with tight:
        model.decode(codes)
    announced = memory.image_bytes(config, size)
    assert 0.6 * announced < tight.most <= announced and tight.most < 0.7 * plain.most
    with Peak() as encoding:
        model.encode(torch.rand(1, size[1], size[0], 3))
    assert encoding.most <= announced


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("tensors are on cuda:0 and cpu")]
)
def test_codes_are_decoded_on_the_cpu_where_the_device_fails(monkeypatch, error):
    model = random_tokenizer()
    codes = torch.randint(0, 64, (1, 5, 3))
    expected, attempts, decode = model.decode(codes), [], ImageTokenizer._decode

    def short_of_memory(self, codes):
        attempts.append(self)
        if self is model:
            raise error
        return decode(self, codes)

    monkeypatch.setattr(ImageTokenizer, "_decode", short_of_memory)
    assert torch.equal(model.decode(codes), expected)
    assert len(attempts) == 2 and attempts[1].quantize.embedding.weight.device.type == "cpu"
