"""An exchange to practise on: its market, its dialect with limits and faults, and virtual time."""
