"""Join our fusion network and a detector of the user into one bundle; needs the package onnx."""
