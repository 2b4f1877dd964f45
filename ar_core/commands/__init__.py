"""The commands, one per file; `cli.py` lists them."""
