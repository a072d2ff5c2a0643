"""How fast and how small klinehub is on this machine: one file per figure."""
