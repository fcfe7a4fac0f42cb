"""Draw the picture of the README's head into the working folder: python scripts/readme_picture.py

The valleys of the example runs on axes of their own: at this size the text can be read on a phone's 360 pixels, and the
white paper makes it a card where the page is dark.
"""

from __future__ import annotations

import matplotlib.pyplot as plt

import scaling
from scaling.plots import plot_isoflop, style

if __name__ == "__main__":
    with style.context("slide"):
        figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
        plot_isoflop(scaling.fit_isoflop(scaling.example_runs()), ax=axes)
        figure.savefig("valleys.svg")
