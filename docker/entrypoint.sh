#!/usr/bin/env bash
# Source ROS and the workspace, then become what was asked for.
set -e  # no -u: the setup files read variables that need not be set
# The two dashes keep the arguments of this script away from the setup files.
source "/opt/ros/${ROS_DISTRO}/setup.bash" --
source /opt/ws/install/setup.bash --
exec "$@"
