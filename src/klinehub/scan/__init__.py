"""Scans: which symbols, which score, in which order, at one closed bar."""
