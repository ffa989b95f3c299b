"""A page about a dataset: one HTML file with columns, histograms, coverage of actions, lengths and frames."""

from __future__ import annotations

import base64
import collections
import html
import io
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from swmjax.data import Reader
from swmjax.data.clips import ACTION
from swmjax.report.sheets import contact_sheet
from swmjax.runs.files import replacing

_MOST_ROWS, _MOST_DIMENSIONS = 100_000, 8
_BINS, _GRID = 32, 24
_WIDTH, _HEIGHT = 220, 64
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; color: #222; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .25rem .8rem; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; } figcaption { font-size: 13px; color: #666; }
rect { fill: #3b6ea5; }
"""


def write_page(reader: Reader, path: Path, title: str) -> None:
    """Write a page about a dataset; of a large one, numbers are those of rows at equal distances.

    Args:
        reader: The dataset.
        path: The file to make, or to replace.
        title: Name of the dataset.

    Raises:
        UserError: The dataset is damaged.
        OSError: As the file system says it.
    """
    step = max(1, -(-reader.rows // _MOST_ROWS))
    rows = np.arange(0, reader.rows, step)
    names = [name for name, column in reader.columns.items() if column.kind != "image"]
    values = reader.read(names, rows)
    numbers = {name: values[name].reshape(len(rows), -1) for name in names if reader.columns[name].kind == "number"}
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _facts(reader, step),
        f"<h2>Columns</h2>{_columns(reader, numbers)}",
        f"<h2>Episode lengths</h2>{_histogram(reader.lengths.astype(float), 'rows')}",
    ]
    if ACTION in numbers:
        parts.append(f"<h2>Action coverage</h2>{_coverage(numbers[ACTION])}")
    parts.append("<h2>Values</h2>")
    parts += [f"<h3>{html.escape(name)}</h3>{_dimensions(column)}" for name, column in numbers.items()]
    parts += [
        f"<h3>{html.escape(name)}</h3>{_texts(values[name])}" for name in names if reader.columns[name].kind == "text"
    ]
    for name, column in reader.columns.items():
        if column.kind == "image" and reader.rows:
            parts.append(f"<h2>Frames of {html.escape(name)}</h2>{_frames(reader, name)}")
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{top}</tr>{body}</table>"


def _facts(reader: Reader, step: int) -> str:
    lengths = reader.lengths
    span = f"{lengths.min()} to {lengths.max()}, {lengths.mean():.1f} on average" if len(lengths) else "none"
    lines = [
        ("Path", reader.path),
        ("Episodes", f"{len(lengths):,}"),
        ("Rows", f"{reader.rows:,}"),
        ("Rows of an episode", span),
    ]
    if step > 1:
        lines.append(("Numbers below", f"of every {step}th row"))
    return _table(("", ""), lines)


def _columns(reader: Reader, numbers: dict[str, np.ndarray]) -> str:
    lines = []
    for name, column in reader.columns.items():
        said = ["", "", "", ""]
        if name in numbers and numbers[name].size:
            finite = numbers[name][np.isfinite(numbers[name])].astype(float)
            missing = 1 - len(finite) / numbers[name].size
            said = [f"{each:.4g}" for each in (finite.min(), finite.mean(), finite.max())] if len(finite) else said[:3]
            said.append(f"{missing:.1%}" if missing else "")
        lines.append((name, column.kind, " x ".join(map(str, column.shape)) or "one", str(column.dtype), *said))
    return _table(("Column", "Kind", "Shape of a row", "Type", "Least", "Mean", "Most", "Not finite"), lines)


def _histogram(values: np.ndarray, caption: str) -> str:
    finite = values[np.isfinite(values)].astype(float)
    if not len(finite):
        return f"<figure><figcaption>{html.escape(caption)}: no finite value</figcaption></figure>"
    counts, edges = np.histogram(finite, min(_BINS, max(1, len(np.unique(finite)))))
    wide = _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{i * wide:.1f}" y="{_HEIGHT - tall:.1f}" width="{max(wide - 0.5, 0.5):.1f}" height="{tall:.1f}"/>'
        for i, tall in enumerate(_HEIGHT * counts / counts.max())
    )
    said = f"{caption}: {edges[0]:.4g} to {edges[-1]:.4g}"
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{html.escape(said)}">{bars}</svg>'
        f"<figcaption>{html.escape(said)}</figcaption></figure>"
    )


def _dimensions(column: np.ndarray) -> str:
    shown = [_histogram(column[:, i], f"dimension {i}") for i in range(min(column.shape[1], _MOST_DIMENSIONS))]
    more = column.shape[1] - len(shown)
    return "".join(shown) + (f"<p>and {more} more dimensions</p>" if more > 0 else "")


def _coverage(actions: np.ndarray) -> str:
    """How much of the room between the least and the largest action was visited; by the first two as a map."""
    good = actions[np.isfinite(actions).all(axis=1)].astype(float)
    if not len(good):
        return "<p>no finite action</p>"
    shares = [(np.histogram(column, _BINS)[0] > 0).mean() for column in good.T]
    said = ", ".join(f"{share:.0%}" for share in shares[:_MOST_DIMENSIONS])
    text = f"<p>Of {_BINS} equal parts of the range of every dimension, these shares were visited: {said}.</p>"
    if good.shape[1] < 2:
        return text
    counts, _, _ = np.histogram2d(good[:, 0], good[:, 1], _GRID)
    size = _WIDTH / _GRID
    cells = "".join(
        f'<rect x="{i * size:.1f}" y="{_WIDTH - (j + 1) * size:.1f}" width="{size:.1f}" height="{size:.1f}" '
        f'fill-opacity="{np.sqrt(counts[i, j] / counts.max()):.2f}"/>'
        for i, j in zip(*np.nonzero(counts), strict=True)
    )
    caption = f"dimension 0 to the right, dimension 1 upwards; {(counts > 0).mean():.0%} of the {_GRID} x {_GRID} parts"
    return (
        f'{text}<figure><svg width="{_WIDTH}" height="{_WIDTH}" role="img" aria-label="{caption}">{cells}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _texts(column: np.ndarray) -> str:
    common = collections.Counter(column.tolist()).most_common(10)
    return _table(("Text", "Rows"), [(text, f"{count:,}") for text, count in common])


def _frames(reader: Reader, name: str) -> str:
    file = io.BytesIO()
    iio.imwrite(file, contact_sheet(reader, name), extension=".jpg", plugin="pillow", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="frames of {html.escape(name)}" src="data:image/jpeg;base64,{data}">'
