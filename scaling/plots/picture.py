"""A figure in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import UsageError
from scaling.files import whole_file
from scaling.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_picture(path: str | Path) -> None:
    """Refuse a file name whose suffix is no picture format, before any work.

    Raises:
        UsageError: it is none.
    """
    from matplotlib.figure import Figure

    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in Figure().canvas.get_supported_filetypes():
        raise UsageError(f"a picture is a .png, .pdf or .svg file; got {Path(path).name!r}.")


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write the figure; the suffix (png, pdf, svg) is the format.

    Raises:
        UsageError: a suffix that is no picture format, or a file that cannot be written.
    """
    check_picture(path)
    try:
        with style.context(), whole_file(Path(path)) as beside:  # resolution and fonts are settings of saving
            figure.savefig(beside)
    except OSError as error:
        raise UsageError(f"the picture {path} could not be written: {error.strerror}.") from error
