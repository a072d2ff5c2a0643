"""Evidence: what a screen or a factor was worth on history, with costs, intervals, and doubts."""
