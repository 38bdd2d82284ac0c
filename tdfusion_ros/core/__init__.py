"""
The algorithms: frames in, fused image and detections out.

NumPy, OpenCV and the standard library only; no ROS, no torch, no engine and no file access, so
that everything here can be tested without a robot.
"""
