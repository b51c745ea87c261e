"""Texts of which one vector a layer crossed: the last token's, or a mean."""
