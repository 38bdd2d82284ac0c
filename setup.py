from glob import glob
import os

from setuptools import find_packages
from setuptools import setup

PACKAGE = 'tdfusion_ros'


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """Return the entries of data_files that install a folder below share/."""
    return [
        (os.path.join('share', PACKAGE, place), files)
        for place, _, names in os.walk(folder)
        if (files := [os.path.join(place, name) for name in sorted(names)])
    ]


setup(
    name=PACKAGE,
    version='0.2.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['formats/*_msgs/msg/*.msg', 'tools/view/*.j2', 'tools/view/*.css']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml', *glob('README.md')]),
        *tree('launch'),
        *tree('config'),
        *tree('models'),
    ],
    # What pip brings for the library and for every `tdfusion` command. In a ROS workspace rosdep
    # brings the same from package.xml, with OpenCV from apt, which has no name that pip knows:
    # colcon installs without looking at this list, and the scripts that it makes start through
    # importlib.metadata, which does not either (pkg_resources would: nothing here imports it).
    install_requires=[
        'numpy>=1.26',  # arrays
        'opencv-python-headless>=4.6,<5',  # decode, remap, draw; version 5 breaks cv_bridge
        'Pillow>=9.0',  # sizes of image files before they are decoded
        'onnxruntime>=1.19',  # runs the model on the CPU
        'PyYAML>=6',  # parameter and calibration files
        'rosbags>=0.11,<0.12',  # bags without ROS
        'tqdm>=4.60',  # progress bar of tdfusion fuse
        'Jinja2>=3.0',  # the page of tdfusion view
        'matplotlib>=3.5',  # its charts
    ],
    extras_require={
        'run': [],  # now install_requires; old commands name it
        # On a Jetson torch and torch_tensorrt are wheels of its JetPack, not of PyPI.
        'cuda': [
            'torch>=2.4',  # runs the network on an NVIDIA GPU
            'safetensors>=0.4',  # weights that need no unpickling
        ],
        'trt': [
            'torch-tensorrt>=2.8',  # builds TensorRT engines; brings torch and TensorRT
            'safetensors>=0.4',
        ],
        # TensorRT on a PC with an RTX card, by pip alone. Pinned together: the engines of one
        # version of the library run on the same version only.
        'rtx': [
            'onnxruntime>=1.27',  # has plug-in providers
            'onnxruntime-ep-nv-tensorrt-rtx==0.5.0',  # runs engines; brings TensorRT for RTX 1.7.1
            'tensorrt-rtx-cu13-bindings==1.7.1.116',  # compiles engines
            'tensorrt-rtx-cu13-libs==1.7.1.116',
            'onnx>=1.17',  # wraps an engine for the provider
        ],
        # The robot runs a composed bundle without it; only the desk joins graphs.
        'compose': ['onnx>=1.17'],
        'train': [
            'torch==2.13.0',  # networks; pinned, an open range brings gigabytes of CUDA
            'onnx>=1.17',  # the exported graph
            'onnxscript>=0.5',  # torch.onnx.export needs it
            'safetensors>=0.4',  # weights that need no unpickling
            'pycocotools>=2.0.8',  # average precision as everybody computes it
            'scikit-image>=0.22',  # SSIM as the papers on fusion compute it
            'tensorboard>=2.18',  # curves and panels of a training run
        ],
        'test': [
            'pytest>=8',
            'pytest-xdist>=3.5',  # tests on all cores
            'hypothesis>=6',  # property-based tests
            'ruff==0.17.5',  # one linter version, so that CI and desk agree
            'mypy==2.4.1',
            'types-PyYAML',
            # TensorRT itself, compiles without a GPU. NVIDIA's license: tests only, never shipped.
            'tensorrt-rtx-cu13-bindings==1.7.1.116',
            'tensorrt-rtx-cu13-libs==1.7.1.116',  # 96 MB; pinned, kernels differ by version
            'sewar>=0.4.10',  # an independent VIF, to check ours against
            'pytest-cov>=5',  # what the tests execute
        ],
        'docs': [
            'sphinx>=7',  # pages and API reference; docs.ros.org (rosdoc2) uses it, too
            'myst-parser>=3',  # pages are Markdown
            'furo>=2024.8.6',  # theme that reads well on a phone and in the dark
        ],
    },
    zip_safe=False,
    maintainer='tdfusion_ros maintainers',
    maintainer_email='maintainers@tdfusion-ros.org',
    description='Fuses a thermal and an RGB camera into one image and detects what is in it',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'fusion_node = tdfusion_ros.node.__main__:main',
            'tdfusion = tdfusion_ros.cli:main',
        ],
    },
)
