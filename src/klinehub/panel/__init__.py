"""The panel: every bar of a market in one block of memory, one writer, any number of readers."""
