"""Structures are drawn atom by atom, in the colours of their species."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle

from alloygen.errors import AlloygenError
from alloygen.plotting import plot_structures


def structure(positions, symbols, moments=None):
    return SimpleNamespace(
        positions=np.array(positions, dtype=float),
        cell=2.0 * np.eye(3),
        get_chemical_symbols=lambda: list(symbols),
        get_initial_magnetic_moments=lambda: np.array(moments if moments is not None else [0.0] * len(symbols)),
    )


INSIDE = [[0.5, 0.5, 0.5], [1.5, 0.5, 0.5], [0.5, 1.5, 1.0]]


def circles(panel) -> list[Circle]:
    return [patch for patch in panel.patches if isinstance(patch, Circle)]


def test_atoms_are_spheres_of_the_colour_of_their_species():
    figure = plot_structures([structure(INSIDE, ["Au", "Cu", "Au"]), structure(INSIDE, ["Cu", "Cu", "Cu"])], ["a", "b"])
    legend = figure.legends[0]
    species = [text.get_text() for text in legend.get_texts()]
    gold, copper = (to_rgb(handle.get_color()) for handle in legend.legend_handles)
    assert species == ["Au", "Cu"]
    drawn = [sorted(to_rgb(circle.get_facecolor()) for circle in circles(panel)) for panel in figure.axes]
    assert drawn == [sorted([gold, gold, copper]), [copper] * 3]
    assert [panel.get_title() for panel in figure.axes] == ["a", "b"]


def test_nearer_atoms_cover_those_behind():
    # Seen along a line that is mostly -y: the atom of small y is in front.
    (panel,) = plot_structures([structure([[1.0, 0.2, 1.0], [1.0, 1.8, 1.1]], ["Au", "Cu"])]).axes
    front = max(circles(panel), key=lambda circle: circle.get_zorder())
    back = min(circles(panel), key=lambda circle: circle.get_zorder())
    assert to_rgb(front.get_facecolor()) != to_rgb(back.get_facecolor())
    (alone,) = plot_structures([structure([[1.0, 0.2, 1.0], [1.0, 1.8, 1.1]], ["Au", "Au"])]).axes
    assert front.center == pytest.approx(max(circles(alone), key=lambda circle: circle.get_zorder()).center)
    # The view is a rotation: the front atom is the one at small y, which the tilt puts lower on the page.
    assert front.center[1] < back.center[1]


def test_atoms_on_faces_are_repeated():
    corner, face = [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]
    (panel,) = plot_structures([structure([corner, face], ["Cu", "Au"])]).axes
    # One layer at z = 0: eight corners, two faces.
    assert len(circles(panel)) == 8 + 2


def test_one_layer_is_seen_from_above():
    positions = [[0.5, 0.5, 1.0], [1.5, 0.5, 1.0]]
    (panel,) = plot_structures([structure(positions, ["Cu", "Au"])]).axes
    np.testing.assert_allclose(sorted(circle.center for circle in circles(panel)), [(0.5, 0.5), (1.5, 0.5)])


def test_spins_have_names_and_dollars_stay():
    figure = plot_structures([structure(INSIDE, "XXX", [1.0, -1.0, 1.0])], ["$1 for x_2$"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["down", "up"]
    assert figure.axes[0].get_title() == r"\$1 for x_2\$"


def test_wrong_input():
    with pytest.raises(AlloygenError, match="no structures to draw"):
        plot_structures([])
    with pytest.raises(AlloygenError, match=r"got str: expected an ase\.Atoms"):
        plot_structures(["Cu"])
    with pytest.raises(AlloygenError, match="got 1 titles for 2 structures"):
        plot_structures([structure(INSIDE, "XXX")] * 2, ["a"])
    with pytest.raises(AlloygenError, match="holds no atoms"):
        plot_structures([structure(np.zeros((0, 3)), [])])
