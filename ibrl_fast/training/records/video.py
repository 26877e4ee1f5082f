"""Films: frames one by one into one MP4."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio
import numpy as np

from ibrl_fast.files import replacing


def write_frames(
    path: Path, frames: Iterable[np.ndarray], frames_per_second: float, *, keep_interrupted: bool = False
) -> None:
    """Write frames, each uint8 [H, W, 3] of the same size, as one MP4.

    Args:
        path: the file.
        frames: made while they are written.
        frames_per_second: of the film.
        keep_interrupted: Ctrl-C and SIGTERM leave the film of what there was; otherwise none is written.

    Raises:
        KeyboardInterrupt: after the file is written, or not.
    """
    interrupted: KeyboardInterrupt | None = None
    with replacing(path) as temporary:
        video: Any = imageio.get_writer(temporary, fps=frames_per_second, macro_block_size=1)
        with video as writer:
            count = 0
            try:
                for frame in frames:
                    writer.append_data(frame)
                    count += 1
            except KeyboardInterrupt as error:
                if not keep_interrupted or count == 0:
                    raise
                interrupted = error
    if interrupted is not None:
        raise interrupted
