"""Recipes: TOML files for ``thinwave run`` and ``thinwave compare``, to copy and change."""
