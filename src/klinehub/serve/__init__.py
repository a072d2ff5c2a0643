"""Serving: the panel lent to other programs."""
