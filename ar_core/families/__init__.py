"""What differs between models: one `Family` value each, with its token protocol and its recipe.

Nothing outside this package knows one of these numbers.
"""
