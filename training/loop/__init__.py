"""State, validation and logs of a run, on one process or several."""
