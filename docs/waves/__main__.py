# SPDX-License-Identifier: Apache-2.0
"""``python docs/waves``: draw each waveform of this folder again, ``NAME.json`` to ``NAME.svg``.

The cycles in the sources are held to the design by ``tests/project/test_waves.py``.
"""

from pathlib import Path

import wavedrom

HERE = Path(__file__).resolve().parent


def draw(source: Path) -> str:
    """The picture of one source; the same text for the same source."""
    drawing = wavedrom.render(source.read_text(encoding="utf-8"))
    # Without a ground of its own the picture would be black on black in a dark page.
    drawing.elements.insert(1, drawing.rect(size=("100%", "100%"), fill="white"))
    return str(drawing.tostring()) + "\n"


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.json")):
        path.with_suffix(".svg").write_text(draw(path), encoding="utf-8")
        print(path.with_suffix(".svg"))
