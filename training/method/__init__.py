"""What a run trains: tasks, losses, task networks, and the meta step of the learned loss."""
