"""Fuse a thermal and an RGB camera into one image and detect what is in it, live in ROS 2."""
