"""Models on disk: find the files, check and read them, name the base model.

One file for each format that weights are published in: `lumina` (a), `chameleon_hf` (b) and `meta` (c), and `anole` for
an image tokenizer in a file of its own. Every parameter comes from a file, or loading fails with a clear message.
"""
