"""Training, evaluation and export of the networks; never needed on the robot."""

from importlib.util import find_spec
import sys

if sys.argv[0] == '-m':  # Python is looking for the module of a command
    for name in ('torch', 'safetensors'):
        if find_spec(name) is None:
            sys.exit(f"training: {name} is missing: pip install '.[train]'")
