# The node on a Jetson Orin with JetPack 6 (L4T r36.4). NOT BUILT SO FAR: written from documentation.
# Build and run it on the Jetson:
#
#   docker build -f docker/jetson.Dockerfile -t tdfusion_ros:jetson --build-arg USER_ID=$(id -u) .
#   docker run --rm --runtime nvidia --network host --ipc host \
#       -v tdfusion_engines:/home/robot/.cache/tdfusion_ros tdfusion_ros:jetson
#
# Known: the base has Ubuntu 22.04, CUDA 12.6, cuDNN 9.3, TensorRT 10.3, Python 3.10, so ROS is
# Humble; torch_tensorrt 2.8 is the last for it.
# Unsure, check at the first build: that BASE has TensorRT's Python package (python3-libnvinfer);
# that JETSON_INDEX still lives there (it has moved before); that the two libraries which torch
# wants and JetPack lacks (cuDSS, cuSPARSELt) work from PyPI's ARM wheels; that NVIDIA's own OpenCV
# is not in the way of Ubuntu's, which cv_bridge needs.
# JetPack 7 is no argument of this file: its TensorRT is no wheel either, and no base image with it
# is known to us; BASE, ROS_DISTRO and the pins are where to begin.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}
ARG ROS_DISTRO=humble
ENV ROS_DISTRO=${ROS_DISTRO} LANG=C.UTF-8

# As docs.ros.org says; version and sum as in the official image of Humble.
ARG APT_SOURCE=1.1.0
ARG APT_SOURCE_SHA256=1600cb8cc28258a39bffc1736a75bcbf52d1f2db371a4d020c1b187d2a5a083b
RUN export DEBIAN_FRONTEND=noninteractive && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && curl -fsSL -o /tmp/ros2.deb "https://github.com/ros-infrastructure/ros-apt-source/releases/\
download/${APT_SOURCE}/ros2-apt-source_${APT_SOURCE}.$(. /etc/os-release && echo $VERSION_CODENAME)_all.deb" \
 && echo "$APT_SOURCE_SHA256 /tmp/ros2.deb" | sha256sum --strict --check \
 && apt-get install -y /tmp/ros2.deb && rm /tmp/ros2.deb && apt-get update \
 && apt-get install -y --no-install-recommends "ros-$ROS_DISTRO-ros-base" \
    python3-colcon-common-extensions python3-rosdep python3-libnvinfer \
 && rm -rf /var/lib/apt/lists/* && rosdep init

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
COPY docker/requirements.txt docker/requirements-jetson.txt /opt/tdfusion/
# torch from the Jetson index alone: PyPI's wheel of the same version knows no Orin. It then finds
# TensorRT among the system's packages. Last, so that the loader knows the two libraries from pip.
ARG JETSON_INDEX=https://pypi.jetson-ai-lab.io/jp6/cu126
RUN python3 -m pip install -r /opt/tdfusion/requirements.txt safetensors==0.8.0 \
 && python3 -m pip install --index-url "$JETSON_INDEX" -r /opt/tdfusion/requirements-jetson.txt \
 && python3 -m pip install --no-deps nvidia-cudss-cu12==0.7.1.6 nvidia-cusparselt-cu12==0.7.1 \
 && find /opt/venv -path '*/nvidia/*/lib' -type d > /etc/ld.so.conf.d/tdfusion.conf && ldconfig

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
# The groups that own the GPU's devices on a Jetson, where there are such.
RUN usermod -a -G video robot
USER robot
WORKDIR /home/robot

# SIGTERM would end ros2 launch and leave the node behind.
STOPSIGNAL SIGINT
ENTRYPOINT ["/opt/tdfusion/entrypoint.sh"]
CMD ["ros2", "launch", "tdfusion_ros", "fusion.launch.py"]
