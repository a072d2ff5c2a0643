"""Factors: pure functions of a window of closed bars, one number per symbol."""
