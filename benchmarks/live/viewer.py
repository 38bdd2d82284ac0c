"""Somebody who looks at the fused images, to be stopped and killed."""

import rclpy
from sensor_msgs.msg import Image


def main() -> None:
    """Look on until killed; say so once it has begun."""
    rclpy.init(args=[])
    node = rclpy.create_node('demo_viewer')
    seen = []
    node.create_subscription(Image, '/fused/image_raw', seen.append, 10)
    while not seen:
        rclpy.spin_once(node)
    print('looking', flush=True)
    while True:
        seen.clear()
        rclpy.spin_once(node)


if __name__ == '__main__':
    main()
