"""A subscriber of the fused images, for a test to stop and kill."""

import rclpy
from sensor_msgs.msg import Image


def main() -> None:
    """Print one line after the first image, then receive until killed."""
    rclpy.init(args=[])
    node = rclpy.create_node('test_viewer')
    received: list[Image] = []
    node.create_subscription(Image, '/fused/image_raw', received.append, 10)
    while not received:
        rclpy.spin_once(node)
    print('receiving', flush=True)
    while True:
        received.clear()
        rclpy.spin_once(node)


if __name__ == '__main__':
    main()
