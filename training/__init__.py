"""Training, evaluation and export of the networks; never needed on the robot."""
