"""Exchanges that ccxt knows, spoken to in their own way and passed on in the dialect that a hub knows."""
