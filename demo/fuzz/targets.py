"""The list of what is fuzzed; imported by the child only, for it loads every engine."""

from demo.fuzz import files
from demo.fuzz import images
from demo.fuzz import models
from demo.fuzz import recordings
from demo.fuzz.target import Target

# The shares follow the time that an input takes, so that 100 000 take minutes.
TARGETS = (
    Target('Image', 42, images.raw),
    Target('CompressedImage', 30, images.compressed),
    Target('image file', 4, images.stored),
    Target('CameraInfo', 6, images.camera_info),
    Target('TF', 2, files.tf),
    Target('calibration YAML', 2, files.calibration),
    Target('camera_info YAML', 2, files.camera),
    Target('extrinsics YAML', 1.5, files.extrinsics),
    Target('picked points', 1.5, files.points),
    Target('parameters', 2, files.parameters),
    Target('model.json', 4, files.contract),
    Target('mcap bytes', 1.5, recordings.mcap),
    Target('sqlite3 bytes', 1, recordings.sqlite3),
    Target('metadata.yaml', 0.8, recordings.metadata),
    Target('messages in a bag', 1, recordings.garbled),
    Target('view', 0.5, recordings.viewed),
    Target('model.onnx', 1, models.onnx_bytes),
    Target('model.onnx, shipped', 0.05, models.onnx_shipped),
    Target('safetensors', 0.65, models.safetensors),
)
