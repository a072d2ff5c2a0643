"""The board: a page of the whole market, and what it is served with."""
