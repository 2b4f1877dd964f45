"""The VQGAN against transformers' encoder and against a plain functional decoder."""

import pytest
import torch
from torch.nn import functional as F

from ar_core.image_tokenizer import ImageTokenizer, ImageTokenizerConfig

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
            embed_dim=8, num_embeddings=64, latent_channels=32, resolution=32, base_channels=32, channel_multiplier=[1, 1, 2],
            num_res_blocks=2, attn_resolutions=None, double_latent=False,
        )
    ).eval()  # fmt: skip
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
    config = ImageTokenizerConfig(ch=8, ch_mult=(1, 2), num_res_blocks=1, z_channels=8, embed_dim=4, n_embed=16, patch=4, norm_groups=2)
    assert config.factor == 8
    model = random_tokenizer(config)
    codes = model.encode(torch.rand(1, 16, 24, 3))
    assert codes.shape == (1, 2, 3) and model.decode(codes).shape == (1, 16, 24, 3)


def test_chameleons_dimensions_have_the_published_numbers_of_parameters():
    model = ImageTokenizer(ImageTokenizerConfig(), device="meta")
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert (count(model), count(model.encoder), count(model.decoder)) == (68_718_467, 27_194_880, 39_294_851)
    assert model.config.factor == 16
