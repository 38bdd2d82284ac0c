"""The learned fusion loss: its networks, the meta-step, and the tasks that teach it."""
