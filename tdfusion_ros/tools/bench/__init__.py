"""How fast, how large: time the robot's path, or a graph alone, without ROS."""
