"""Pictures side by side with words above them: a contact sheet, and the frames of a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ibrl_fast.files import replacing
from ibrl_fast.training.viewing.pictures import Frame

TITLE_HEIGHT = 22
STEP_HEIGHT = 16
GAP = 4
"""Pixels."""
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def contact_sheet(rows: Sequence[tuple[str, Sequence[tuple[str, Frame]]]]) -> Frame:
    """Lay pictures out in rows, each with a title above and every picture with a label below.

    Args:
        rows: title, and pictures of one size with their labels; all of the same size.

    Returns:
        One picture; row r's frames begin at `cell_origin(r, column, height, width)`.
    """
    height, width = rows[0][1][0][1].shape[:2]
    columns = max(len(pictures) for _, pictures in rows)
    bottom, right = cell_origin(len(rows), columns, height, width)
    sheet = Image.new("RGB", (right, bottom - TITLE_HEIGHT), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (title, pictures) in enumerate(rows):
        for column, (label, frame) in enumerate(pictures):
            y, x = cell_origin(row, column, height, width)
            sheet.paste(Image.fromarray(frame), (x, y))
            draw.text((x + 1, y + height + 1), label, fill=_GREY, font=ImageFont.load_default(11))
        y, x = cell_origin(row, 0, height, width)
        draw.text((x, y - TITLE_HEIGHT + 4), title, fill=_INK, font=ImageFont.load_default(14))
    return np.asarray(sheet)


def cell_origin(row: int, column: int, height: int, width: int) -> tuple[int, int]:
    """Return where a frame of the sheet begins: pixels from the top, and from the left."""
    return (
        GAP + TITLE_HEIGHT + row * (height + TITLE_HEIGHT + STEP_HEIGHT + GAP),
        GAP + column * (width + GAP),
    )


def titled(frame: Frame, title: str) -> Frame:
    """Put a line of words above a picture, with sides of even length, as films want them.

    Returns:
        The picture below `TITLE_HEIGHT` rows; a last row or column is repeated where one is missing.
    """
    height, width = frame.shape[:2]
    page = Image.new("RGB", (width, TITLE_HEIGHT), _PAPER)
    font = ImageFont.load_default(12)
    ImageDraw.Draw(page).text((4, 4), title, fill=_INK, font=font)
    whole = np.concatenate([np.asarray(page), frame])
    return np.pad(whole, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def save_picture(picture: Frame, out: Path) -> None:
    """Write a picture as PNG; folders above it are made."""
    with replacing(out) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
