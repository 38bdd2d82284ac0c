"""Where a run writes what becomes of it: log.jsonl, validation.jsonl, panels/, TensorBoard."""

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack
import json
from pathlib import Path
from typing import TextIO

from torch import Tensor

from training import distributed
from training.loop.board import Board
from training.loop.board import open_board
from training.loop.board import write_panel
from training.loop.validation import Validation


class Journal:
    """The files of a run that is in progress; none in a process that does not write."""

    def __init__(self, folder: Path, board: Board, logs: Mapping[str, TextIO]) -> None:
        self._folder = folder
        self._board = board
        self._logs = logs

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Add the losses of a step."""
        self._write('log', step, values)
        self._board.scalars(step, values)

    def validation(self, step: int, validation: Validation, value: float) -> None:
        """Add how good the averaged networks are after a step."""
        name = validation.measure.name
        self._write('validation', step, {name: value})
        self._board.scalars(step, {f'{validation.split}/{name}': value})

    def panel(self, step: int, image: Tensor | None) -> None:
        """Add a picture, (3, H, W) in [0, 1], if there is one."""
        if image is not None and self._logs:
            write_panel(self._folder / 'panels' / f'{step:06}.png', image)
            self._board.panel(step, image)

    def flush(self) -> None:
        """Write what is still in memory, so that an interrupted run has it."""
        self._board.flush()
        for log in self._logs.values():
            log.flush()

    def _write(self, log: str, step: int, values: Mapping[str, float]) -> None:
        if log in self._logs:
            self._logs[log].write(json.dumps({'step': step, **values}) + '\n')


@contextmanager
def open_journal(folder: Path, lines: Mapping[str, int]) -> Iterator[Journal]:
    """
    Open the journal of a run, to go on after its first lines: what was written later is cut off.

    :param lines: how many to keep, of the steps (``log``) and of the ``validation``.
    """
    if not distributed.is_main():
        yield Journal(folder, Board(None), {})
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(_open_log(folder / f'{name}.jsonl', kept))
            for name, kept in lines.items()
        }
        yield Journal(folder, stack.enter_context(open_board(folder, lines['log'])), logs)


def _open_log(path: Path, lines: int) -> TextIO:
    kept = path.read_text(encoding='utf-8').splitlines(keepends=True)[:lines] if lines else []
    path.write_text(''.join(kept), encoding='utf-8')
    return path.open('a', encoding='utf-8')
