"""Texts whose positions all crossed, before a frozen bottom or a trained one."""
