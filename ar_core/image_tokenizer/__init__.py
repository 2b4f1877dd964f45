"""Pixels <-> codes.

The engine asks an image tokenizer for `encode`, `decode`, `config.n_embed` and `config.factor`, and takes its codebook
from `quantize.embedding`. A variant of the VQGAN is a switch in its config, or a subclass of `vqgan.ImageTokenizer`
in a file of its own that builds another encoder or decoder.
"""
