"""Pictures of a pack, decoded once into memory that all processes share.

Letters: N pictures, H rows, W columns, C channels.
"""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Sequence

import cv2
import numpy as np

from deepfake.datasets.views import see
from deepfake.errors import UserError
from deepfake.forging.padding import fill_padding
from deepfake.packs.file import Pack


class Pictures:
    """Decoded pictures (HWC uint8 RGB) by row of the pack; processes forked later share them.

    `n_processes` decode; 0 decodes here.
    """

    def __init__(self, pack: Pack, rows: Sequence[int] | np.ndarray, n_processes: int = 0) -> None:
        self.shapes = {int(i): (int(h), int(w), 3) for i, h, w in _shapes(pack, rows)}
        starts = np.concatenate([[0], np.cumsum([np.prod(shape) for shape in self.shapes.values()])]).astype(int)
        self.starts = dict(zip(self.shapes, starts[:-1].tolist(), strict=True))
        self._seen: dict[tuple[object, ...], np.ndarray] = {}
        self.memory = mmap.mmap(-1, max(int(starts[-1]), 1))  # anonymous and shared: children write into it, too
        todo = list(self.shapes)
        if n_processes < 2 or len(todo) < 2 * n_processes:
            self._decode(pack, todo)
            return
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=self._decode, args=(pack, todo[k::n_processes])) for k in range(n_processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            self._decode(pack, todo)  # says which picture it is

    def __getitem__(self, row: int) -> np.ndarray:
        """The picture; not to be written to."""
        shape = self.shapes[int(row)]
        flat = np.frombuffer(self.memory, np.uint8, int(np.prod(shape)), self.starts[int(row)])
        return flat.reshape(shape)

    def seen(self, rows: np.ndarray, view_ratio: float, input_px: int) -> np.ndarray:
        """Pictures as a network of that size sees them, (N, C, H, W); kept for the next that asks for the same."""
        key = (rows.tobytes(), view_ratio, input_px)
        if key not in self._seen:
            crops = np.empty((len(rows), 3, input_px, input_px), np.uint8)
            for i, row in enumerate(rows):
                crops[i] = see(self[int(row)], view_ratio, input_px).transpose(2, 0, 1)
            self._seen = {**dict(list(self._seen.items())[-2:]), key: crops}
        return self._seen[key]

    def _decode(self, pack: Pack, rows: Sequence[int]) -> None:
        for row in rows:
            self[row][:] = decoded(pack, row)


def _shapes(pack: Pack, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    sizes = pack.faces[["height_px", "width_px"]].to_numpy()[np.asarray(rows, int)]
    return np.column_stack([np.asarray(rows, int), sizes])


def decoded(pack: Pack, row: int) -> np.ndarray:
    """One picture of the pack, decoded; the padding of photos is filled."""
    face = pack.faces.iloc[row]
    picture = cv2.imdecode(np.frombuffer(pack.encoded[row], np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[:2] != (face["height_px"], face["width_px"]):
        found = "not a picture" if picture is None else f"{picture.shape[1]}x{picture.shape[0]}"
        raise UserError(
            f"pack: {face['name']!r} is {found}, wanted {face['width_px']}x{face['height_px']}; make the pack again"
        )
    rgb = np.ascontiguousarray(picture[..., ::-1])
    return fill_padding(rgb) if face["kind"] == "photo" else rgb
