"""The board in a terminal: what a hub tells of it, kept, laid out and shown."""
