"""The charts of the result page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

from .harness import Bars, number

mpl.use("svg")
_OURS, _PEER = "#1f5fa8", "#9a9a9a"


def draw(figures: Iterable[Bars], folder: Path) -> dict[str, Path]:
    """One picture with a panel for each comparison; gives title and file."""
    from matplotlib import pyplot

    panels = [panel for figure in figures for panel in figure.items()]
    if not panels:
        return {}
    heights = [len(values) + 1.5 for _, values in panels]
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9}
    picture, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, sum(heights) * 0.33), height_ratios=heights, squeeze=False
    )
    for (title, values), axis in zip(panels, axes[:, 0], strict=True):
        _panel(axis, title, values)
    picture.tight_layout()
    folder.mkdir(exist_ok=True)
    path = folder / "benchmarks.svg"
    picture.savefig(path, metadata={"Date": None})
    pyplot.close(picture)
    return {"Ours and others, side by side": path}


def _panel(axis: object, title: str, values: dict[str, float]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    names = list(values)[::-1]
    colours = [_OURS if name.startswith("ours") else _PEER for name in names]
    bars = axis.barh(names, [values[name] for name in names], color=colours)
    axis.bar_label(bars, [number(values[name]) for name in names], padding=3)
    axis.set_title(title, loc="left", fontweight="bold", fontsize=9)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
