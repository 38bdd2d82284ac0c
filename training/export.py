"""
Export the run of a detector, and of the fusion network before it, as a model bundle.

    python -m training.export runs/detector_fused -o models/NAME

The bundle is measured with ONNX Runtime, as on the robot, on --split of the training data or of
--data; the contract (model.json) and the model card contain the figures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
import torch
from torch import nn

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import write_file
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.bundle import write_contract
from tdfusion_ros.backends.torch_network import read_network
from tdfusion_ros.backends.torch_network import round_weights
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.display import Display
from tdfusion_ros.nets.perception import Perception
from tdfusion_ros.nets.segmenter import MaskHead
from tdfusion_ros.nets.segmenter import Segmenter
from training import shell
from training.bundle import card
from training.bundle import graph
from training.bundle import history
from training.checkpoint import architecture
from training.checkpoint import is_bundle
from training.checkpoint import is_run
from training.checkpoint import load_fusion
from training.checkpoint import load_network
from training.checkpoint import read_contract
from training.checkpoint import read_description
from training.data.augmentation import SIZE_MULTIPLE
from training.data.mixture import Data
from training.data.pair_files import read_text
from training.measure import predictors
from training.measure import tables
from training.measure.cross_set import Competitors
from training.measure.cross_set import detect
from training.method.task_networks import read_detector

RESAMPLES = 1000


def find_fusion(run: str, fusion_run: str = '') -> str:
    """
    Return the run or bundle of a detector's fusion network, or raise ModelError.

    :param fusion_run: if not where the detector's run says; required for ``early``.
    """
    source, named = predictors.input_of(run)
    if source == 'early' and not fusion_run:
        raise ModelError(
            f'{run} reads both sources: name the fusion network of the bundle with --fusion RUN'
        )
    if source not in ('fused', 'early'):
        raise ModelError(
            f'{run} reads {source}: train the detector with source=fused or source=early'
        )
    folder = fusion_run or named
    if not (is_bundle(folder) or is_run(folder)):
        raise ModelError(
            f'{folder}, the fusion network of {run}, is neither a finished run nor a bundle: '
            'name its folder with --fusion RUN'
        )
    return folder


def read_mask_head(run: str, detector: nn.Module) -> MaskHead:
    """Return the head of a segmenter; ModelError if it reads other features than a detector's."""
    segmenter, own = load_network(run, Segmenter), detector.state_dict()
    parts = {name: x for name, x in segmenter.state_dict().items() if name[:5] != 'head.'}
    if not all(name in own and torch.equal(own[name], x) for name, x in parts.items()):
        raise ModelError(
            f'{run} reads the features of another detector: train it with pretrained= the '
            'detector or bundle that is exported'
        )
    return segmenter.head


def read_model(
    run: str, fusion_run: str, segmenter_run: str
) -> tuple[Perception, Sequence[str], str]:
    """Return the networks of :func:`export`, their classes, and the run of the fusion network."""
    if is_bundle(run):
        bundle = read_bundle(Path(run))
        model = read_network(bundle.architecture, bundle.weights()).eval()
        classes: Sequence[str] = bundle.contract.classes
    else:
        (detector, classes), fusion_run = read_detector(run), find_fusion(run, fusion_run)
        model = Perception(load_fusion(fusion_run), detector).eval()
    if segmenter_run:
        model.mask_head = read_mask_head(segmenter_run, model.detector)
    return model, classes, fusion_run


def note_of(run: str, note: str) -> str:
    """Return what a card has appended: the text of the file ``note``, or of the bundle's card."""
    if note:
        return read_text(Path(note))
    written = Path(run) / card.CARD
    return card.note_of(read_text(written)) if is_bundle(run) and written.is_file() else ''


def open_test_data(measure_on: tuple[str, str], run: str, classes: Sequence[str]) -> Data:
    """Return the data to measure on; an error says which options choose others."""
    try:
        return predictors.open_labeled(*measure_on, run, classes)
    except FusionError as error:
        raise FusionError(
            f'{error}; or choose other data with --data and --split, or use --no-metrics'
        ) from None


def measure(folder: Path, data: Data, classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a bundle: average precision and fusion quality."""
    methods = {**predictors.BASELINES, folder.name: predictors.bundle_fuser(str(folder))}
    own = {folder.name: (predictors.bundle_predictor(str(folder)), tuple(classes))}
    labels, found = detect(Competitors(own=own), data, classes)
    detection = tables.precision_table(labels, found[folder.name,], classes, RESAMPLES)
    fusion = tables.quality_table(methods, data)
    return {'detection': tables.rounded(detection), 'fusion': tables.rounded(fusion)}


def network_facts(model: Perception, classes: Sequence[str]) -> dict[str, Any]:
    """Return what a contract says of the networks."""
    image = graph.image(model.detector_inputs)
    parts: dict[str, tuple[Any, ...]] = {
        'fusion': (model.fusion, graph.image(1), graph.image(1)),
        'detector': (model.detector, image),
    }
    if model.mask_head is not None:
        parts['mask_head'] = model.mask_head, model.detector.features(image)
    if model.display is not None:
        parts['display'] = model.display, *(graph.image(1) for _ in range(4))
    masks = list(graph.mask_classes(model))
    return {
        'classes': list(classes),
        **({'mask_classes': masks} if masks else {}),
        'architecture': {name: architecture(network) for name, (network, *_) in parts.items()},
        'cost': {name: graph.cost(*part) for name, part in parts.items()},
    }


def training_facts(
    run: str, fusion_run: str, segmenter_run: str, elsewhere: str
) -> dict[str, Any]:
    """
    Return what a contract says of the training of the networks, and the license.

    :param elsewhere: as in :func:`history.training_facts`.
    """
    if is_bundle(run):
        contract = read_contract(run)
        if missing := [key for key in ('training', 'licence') if key not in contract]:
            raise ModelError(f'{run}/model.json has no {missing[0]}; export its run instead')
        training, licence = contract['training'], contract['licence']
    else:
        lineage = history.ancestors(run, fusion_run)
        training, licence = history.training_facts(lineage, fusion_run, elsewhere), None
    if segmenter_run:
        training, licence = history.with_run(training, segmenter_run, elsewhere), None
    licence = licence or {'code': 'Apache-2.0', 'weights': card.rights(training)}
    return {'training': training, 'licence': licence}


def export(
    run: str,
    output: str,
    *,
    fusion_run: str = '',
    segmenter_run: str = '',
    display: bool = True,
    measure_on: tuple[str, str] | None = None,
    note: str = '',
) -> None:
    """
    Write the bundle ``output``, check it against torch, measure it, and write its card.

    :param run: folder of a detector's run, or of a bundle, whose weights and history are kept.
    :param fusion_run: folder of its fusion network, if not where the run says.
    :param segmenter_run: folder of a segmenter's run, for masks; empty: without, or the bundle's.
    :param display: whether people see the image of :class:`Display`, or what the detector reads.
    :param measure_on: folder of a data set and split; None: nothing is measured.
    :param note: a file to append to the card; empty: what a bundle's card had appended.
    """
    with NewOutput(Path(output)) as folder:
        folder.mkdir()
        appended = note_of(run, note)
        model, classes, fusion_run = read_model(run, fusion_run, segmenter_run)
        model.display = Display() if display else None
        data = open_test_data(measure_on, run, classes) if measure_on else None
        said = training_facts(run, fusion_run, segmenter_run, measure_on[0] if measure_on else '')
        facts = {**network_facts(model, classes), **said}
        round_weights(model)
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        write_file(folder / 'weights.safetensors', save(state))
        facts['metrics'] = {'onnx_parity': graph.write_graphs(model, folder)}
        contract = write_contract(folder, SIZE_MULTIPLE, facts)  # measuring reads it
        graph.check_half(folder)
        if data is not None and measure_on is not None:
            on = history.evaluation_facts(measure_on, data, run, fusion_run)
            on |= history.contents(data) | {'score_threshold': FusionConfig().score_threshold}
            facts['metrics'] |= {'on': on, **measure(folder, data, classes)}
            contract = write_contract(folder, SIZE_MULTIPLE, facts)
        write_file(folder / card.CARD, card.model_card(contract, appended))
    differs = ', '.join(f'{k} {v:.2g}' for k, v in facts['metrics']['onnx_parity'].items())
    print(f'{output}: onnx differs from torch by at most: {differs}')
    print(f'next: tdfusion fuse RGB IR -o OUT -p model={Path(output).resolve()}')


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and export."""
    parser = shell.parser('training.export', __doc__)
    add = parser.add_argument
    add(
        'run',
        metavar='RUN',
        help='run of a detector (in a learned run its folder detector), or a bundle of an '
        'earlier version, to write it with the graph of this one',
    )
    add('-o', '--output', required=True, help='bundle folder to write')
    add('--fusion', default='', metavar='RUN', help='its fusion network, if moved or not read')
    add('--segmenter', default='', metavar='RUN', help='segmenter on its features, for masks')
    add(
        '--no-display',
        action='store_true',
        help='publish the image that the detector reads, without changes for the eyes of people',
    )
    add('--data', default='', help='data set to measure on; default: that of the run')
    add('--split', default='val', help='split to measure on; default: val')
    add('--no-metrics', action='store_true', help='measure nothing, without data')
    add('--note', default='', metavar='FILE', help='Markdown to append to the card')
    options = parser.parse_args(arguments)
    if is_bundle(options.run) and not (options.data or options.no_metrics):
        parser.error('a bundle does not name its data: give --data DATA, or --no-metrics')
    data = options.data
    if not (data or options.no_metrics):
        data = read_description(options.run)['config']['data']
    export(
        options.run,
        options.output,
        fusion_run=options.fusion,
        segmenter_run=options.segmenter,
        display=not options.no_display,
        measure_on=None if options.no_metrics else (data, options.split),
        note=options.note,
    )


if __name__ == '__main__':
    shell.run('export', main)
