"""
The pure heart of the package: frames in, fused image and detections out.

numpy, OpenCV and the standard library only. No ROS, no torch, no engine, no file access: whoever
reads files or messages hands over arrays, so every line here can be tested without a robot.
"""
