"""Recipes: TOML files for ``thinwave run``, to copy and change."""
