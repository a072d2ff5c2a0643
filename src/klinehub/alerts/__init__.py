"""Alerts: rules of the user's that are decided once a bar, written down, and then delivered."""
