#!/usr/bin/env python3
"""
Build ``vision_msgs``, ``foxglove_msgs`` and ``tf2_msgs`` for the ROS 2 wheels of PyPI.

Run with the Python of the virtual environment: ``python pip_ros/build_messages.py``. PyPI has
none of them, but the ROS wheels contain the interface generators. This script generates the few
messages that this project needs and compiles them with gcc and g++ into site-packages.
"""

from concurrent.futures import ThreadPoolExecutor
import contextlib
from functools import partial
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time

DEFINITIONS = Path(__file__).resolve().parents[1] / 'tdfusion_ros' / 'formats'
DEPENDENCIES = ('std_msgs', 'geometry_msgs', 'builtin_interfaces')
DISPATCH = Path(__file__).resolve().with_name('dispatch.cpp.in')
STAMP = '.built_from'
C_GENERATORS = (
    'rosidl_generator_c',
    'rosidl_generator_py',
    'rosidl_typesupport_fastrtps_c',
    'rosidl_typesupport_introspection_c',
)
LIBRARIES = (
    *(f'{name}__{part}' for name in DEPENDENCIES for part in C_GENERATORS),
    'rosidl_runtime_c',
    'rosidl_typesupport_fastrtps_c',
    'rosidl_typesupport_fastrtps_cpp',
    'rosidl_typesupport_introspection_c',
    'fastcdr',
    'rcutils',
)

# Of vision_msgs 4.x, foxglove_msgs 3.4.3 and tf2_msgs (REP-2016): nodes connect only if these
# agree.
TYPE_HASHES = {
    'vision_msgs': {
        'Detection2DArray': '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
        'LabelInfo': '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    },
    'foxglove_msgs': {
        'ImageAnnotations': 'bc4e578b1ef80953415d6f966a4cab305c8a44c8b64fc405312b6f06a08fc45e',
    },
    'tf2_msgs': {
        'TFMessage': 'e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087',
    },
}


class BuildError(Exception):
    """Something is missing on this machine; the message says what to do."""


def definitions(package: str) -> list[Path]:
    """Return the .msg files of a package."""
    return sorted((DEFINITIONS / package / 'msg').glob('*.msg'))


def build_key(package: str) -> str:
    """Return a key that changes whenever the package must be built again."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + DISPATCH.read_bytes())
    for path in definitions(package):
        digest.update(path.name.encode() + b'\0' + path.read_bytes())
    rclpy = importlib.metadata.version('ros-rclpy')
    numpy = importlib.metadata.version('numpy').partition('.')[0]
    return f'{digest.hexdigest()} rclpy {rclpy} numpy {numpy}\n'


def installed_package(package: str) -> Path | None:
    """Return the folder of an installed package, from whatever source."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def check_machine(prefix: Path) -> None:
    """
    Check that everything that the build needs is installed.

    :raises BuildError: if something is missing.
    """
    if not (prefix / 'share' / 'rosidl_generator_py' / 'resource').is_dir():
        raise BuildError(
            f'no ROS 2 wheels in {prefix}: run this with the Python of a virtual environment, '
            'after "pip install -r pip_ros/requirements.txt"'
        )
    missing = [tool for tool in ('gcc', 'g++') if shutil.which(tool) is None]
    if missing:
        raise BuildError(
            f'{" and ".join(missing)} not found: install them (Debian, Ubuntu: apt install g++)'
        )
    header = Path(sysconfig.get_paths()['include']) / 'Python.h'
    if not header.is_file():
        version = f'{sys.version_info.major}.{sys.version_info.minor}'
        raise BuildError(
            f'{header} not found: install it (Debian, Ubuntu: apt install python{version}-dev)'
        )


def write_idl(build: Path, package: str) -> list[str]:
    """Translate the .msg files to .idl; return their paths relative to the package."""
    from rosidl_adapter.msg import convert_msg_to_idl

    source = build / package
    shutil.copytree(DEFINITIONS / package / 'msg', source / 'msg')
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every file name
        for path in definitions(package):
            convert_msg_to_idl(source, package, Path('msg', path.name), source / 'msg')
    return [f'msg/{path.stem}.idl' for path in definitions(package)]


def generate(build: Path, prefix: Path, package: str) -> dict[str, str]:
    """
    Run the interface generators, each into a folder of its own name.

    :returns: type hash by message name.
    """
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    from rosidl_typesupport_introspection_c import generate_c as generate_introspection_c

    idl = write_idl(build, package)
    described = build / 'rosidl_generator_type_description' / package
    arguments = {
        'package_name': package,
        'idl_tuples': [f'{build / package}:{path}' for path in idl],
        'ros_interface_files': [str(build / package / path[:-4]) + '.msg' for path in idl],
        'include_paths': [f'{name}:{prefix / "share" / name}' for name in DEPENDENCIES],
        'type_description_tuples': [f'{path}:{described / path[:-4]}.json' for path in idl],
        'target_dependencies': [],
    }
    generators = {
        'rosidl_generator_type_description': generate_type_hash,
        'rosidl_generator_c': generate_c,
        'rosidl_typesupport_fastrtps_c': generate_typesupport_fastrtps_c,
        'rosidl_typesupport_introspection_c': generate_introspection_c,
        'rosidl_generator_py': partial(generate_py, typesupport_impls=['rosidl_typesupport_c']),
    }
    for name, run in generators.items():
        output = build / name / package
        resource = prefix / 'share' / name / 'resource'
        write_visibility_headers(resource, output / 'msg', package)
        file = build / f'{name}.json'
        places = {'output_dir': str(output), 'template_dir': str(resource)}
        file.write_text(json.dumps(arguments | places))
        run(str(file))
    hashes = {}
    for path in idl:
        text = (described / f'{path[:-4]}.json').read_text()
        hashes[Path(path).stem] = json.loads(text)['type_hashes'][0]['hash_string']
    return hashes


def write_visibility_headers(resource: Path, output: Path, package: str) -> None:
    """Write the header that a ROS build makes with CMake, where a generator has one."""
    output.mkdir(parents=True)
    for template in resource.glob('*visibility_control.h.in'):
        text = template.read_text().replace('@PROJECT_NAME_UPPER@', package.upper())
        (output / template.stem).write_text(text.replace('@PROJECT_NAME@', package))


def run_compiler(command: list[str]) -> None:
    """Run a compiler without the library path of the ROS wheels."""
    environment = {k: v for k, v in os.environ.items() if k != 'LD_LIBRARY_PATH'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f'{" ".join(command)} failed:\n{done.stderr}')


def compile_module(build: Path, prefix: Path, output: Path) -> None:
    """Compile all generated sources and link them into one extension module."""
    import numpy

    includes = [build / name for name in C_GENERATORS]
    includes += [path for path in (prefix / 'include').iterdir() if path.is_dir()]
    includes.append(prefix / 'include')
    others = (numpy.get_include(), sysconfig.get_paths()['include'])
    flags = ['-O1', '-fPIC', '-w', *(f'-I{path}' for path in (*includes, *others))]

    def compile_one(source: Path) -> str:
        target = str(source) + '.o'
        compiler = ['g++', '-std=c++17'] if source.suffix == '.cpp' else ['gcc', '-std=gnu11']
        run_compiler([*compiler, *flags, '-c', str(source), '-o', target])
        return target

    # The C++ sources take longest, so they go first and no core is idle at the end.
    sources = sorted(build.rglob('*.cpp')) + sorted(build.rglob('*.c'))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))

    lib = prefix / 'lib'
    up = os.path.relpath(lib, output.parent)  # the staging folder is next to the final one
    link = [f'-L{lib}', f'-Wl,-rpath,$ORIGIN/{up}', '-Wl,--as-needed']
    link += [f'-l{name}' for name in LIBRARIES]
    run_compiler(['g++', '-shared', *objects, *link, '-o', str(output)])


def install(build: Path, prefix: Path, target: Path) -> None:
    """Install the Python files and the extension module, the stamp last."""
    package = target.name
    staging = target.with_name(f'.{package}-{os.getpid()}')
    generated = build / 'rosidl_generator_py' / package
    try:
        shutil.copytree(generated, staging, ignore=shutil.ignore_patterns('*.c', '*.h', '*.o'))
        (staging / '__init__.py').write_text('')
        suffix = sysconfig.get_config_var('EXT_SUFFIX')
        compile_module(build, prefix, staging / f'{package}_s__rosidl_typesupport_c{suffix}')
        (staging / STAMP).write_text(build_key(package))
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_import(package: str) -> None:
    """Load the type support of every message in a new process."""
    code = (
        f'import {package}.msg as m\n'
        'for kind in vars(m).values():\n'
        '    if isinstance(kind, type):\n'
        '        kind.__class__.__import_type_support__()\n'
        '        assert kind.__class__._TYPE_SUPPORT is not None, kind\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f'the compiled {package} cannot be imported:\n{done.stderr}')


def build_package(target: Path) -> None:
    """
    Generate, check, compile and install the package.

    :raises BuildError: if something is missing or a type hash differs from the released one.
    """
    prefix, package = Path(sys.prefix), target.name
    check_machine(prefix)
    with tempfile.TemporaryDirectory(prefix=f'{package}-') as folder:
        build = Path(folder)
        hashes = generate(build, prefix, package)
        for name, expected in TYPE_HASHES[package].items():
            if hashes[name] != f'RIHS01_{expected}':
                raise BuildError(
                    f'type hash of {package}/{name}: expected {expected}, got {hashes[name]}'
                )
        # The function table from a message to its two type supports.
        text = DISPATCH.read_text().replace('@PACKAGE@', package)
        text += ''.join(f'DISPATCH({name})\n' for name in hashes)
        (build / 'dispatch.cpp').write_text(text)
        install(build, prefix, target)
    check_import(package)


def main() -> int:
    """Build all packages if necessary; return the exit status."""
    return int(any(build_missing(package) for package in TYPE_HASHES))


def build_missing(package: str) -> int:
    """Build a package unless it is installed; return the exit status."""
    start = time.monotonic()
    target = Path(sysconfig.get_paths()['platlib']) / package
    found = installed_package(package)
    if found and not (found / STAMP).is_file():
        print(f'{package}: using the ROS installation ({found})')
        return 0
    try:
        if found and (found / STAMP).read_text() == build_key(package):
            print(f'{package}: up to date ({found})')
            return 0
        build_package(target)
    except importlib.metadata.PackageNotFoundError as error:
        fault = f'no {error.name}: run "pip install -r pip_ros/requirements.txt" first'
    except BuildError as error:
        fault = str(error)
    else:
        print(f'{package}: built in {time.monotonic() - start:.0f} s ({target})')
        return 0
    print(f'{package}: {fault}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
