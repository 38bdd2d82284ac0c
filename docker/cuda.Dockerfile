# The node on an NVIDIA GPU, x86-64. NOT BUILT SO FAR: written from documentation.
#
#   docker build -f docker/cuda.Dockerfile -t tdfusion_ros:cuda --build-arg USER_ID=$(id -u) .
#   docker run --rm --gpus all --network host --ipc host \
#       -v tdfusion_engines:/home/robot/.cache/tdfusion_ros tdfusion_ros:cuda
#
# The base is the plain ROS image, not one of CUDA: the wheels of torch and TensorRT bring CUDA 13
# with them, and the driver is the host's (NVIDIA Container Toolkit). docs/deployment.md.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

# Keeps pip to NumPy 1, which apt's OpenCV and cv_bridge are built for.
COPY docker/constraints.txt /opt/tdfusion/
ENV PIP_CONSTRAINT=/opt/tdfusion/constraints.txt PIP_NO_CACHE_DIR=1

# With the system's packages, or ROS would not be seen; in it, so that pip never touches apt's.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/ws
COPY package.xml src/tdfusion_ros/
RUN apt-get update && rosdep update --rosdistro "$ROS_DISTRO" \
 && rosdep install --from-paths src --ignore-src -y --dependency-types exec \
    --skip-keys "python3-onnxruntime-pip python3-rosbags-pip" \
 && rm -rf /var/lib/apt/lists/*
COPY docker/requirements.txt docker/requirements-cuda.txt /opt/tdfusion/
RUN python3 -m pip install \
    -r /opt/tdfusion/requirements.txt -r /opt/tdfusion/requirements-cuda.txt

COPY setup.py setup.cfg README.md src/tdfusion_ros/
COPY resource src/tdfusion_ros/resource
COPY launch src/tdfusion_ros/launch
COPY config src/tdfusion_ros/config
COPY models src/tdfusion_ros/models
COPY demo src/tdfusion_ros/demo
COPY tdfusion_ros src/tdfusion_ros/tdfusion_ros
# Through the venv's python: it becomes the first line of the installed programs.
RUN . "/opt/ros/$ROS_DISTRO/setup.sh" && python3 -m colcon build --packages-select tdfusion_ros

# Shared memory is only shared with processes of the same user: build with your own number.
ARG USER_ID=1000
RUN if getent passwd "$USER_ID"; then userdel -r "$(getent passwd "$USER_ID" | cut -d: -f1)"; fi \
 && useradd --create-home --uid "$USER_ID" robot \
 && install -d -o robot -g robot -m 700 /home/robot/.cache /home/robot/.cache/tdfusion_ros
ENV FASTRTPS_DEFAULT_PROFILES_FILE=/opt/ws/install/tdfusion_ros/share/tdfusion_ros/config/fastdds_profile.xml
ENV FASTDDS_DEFAULT_PROFILES_FILE=$FASTRTPS_DEFAULT_PROFILES_FILE
COPY docker/entrypoint.sh /opt/tdfusion/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER robot
WORKDIR /home/robot

# SIGTERM would end ros2 launch and leave the node behind.
STOPSIGNAL SIGINT
ENTRYPOINT ["/opt/tdfusion/entrypoint.sh"]
CMD ["ros2", "launch", "tdfusion_ros", "fusion.launch.py"]
