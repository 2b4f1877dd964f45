"""What is measured of a subject's pictures: one file for each measure, and `registry.py` that lists them."""
