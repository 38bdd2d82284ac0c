"""The ROS 2 node: everything that needs rclpy."""
