"""The model bundle that a run becomes, and its card."""
