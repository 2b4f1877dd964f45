"""What differs between models: a file for each family, listed in `registry`.

Nothing outside this package knows a token id, an instruction, a size or a recipe.
"""
