"""What a training run keeps, writes and looks at, on one process or several."""
