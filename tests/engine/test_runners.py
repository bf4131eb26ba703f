"""What the worker does around a method: memory that another method needs, and an end that a person asks for."""
from __future__ import annotations

from pathlib import Path

import pytest
from meshes import RADIUS, textured, write_painted_folder
from skin import ball

from slipcast.bridge.errors import BadInput
from slipcast.bridge.folders import collect_view_folder
from slipcast.engine.models.shelf import ModelShelf, open_shelf
from slipcast.engine.models.silhouette import MODEL
from slipcast.engine.pipeline.export import write_mesh
from slipcast.engine.runners import run_method


class Link:
    """Of a person who finds the mesh good enough at once."""

    def report(self, progress) -> None: ...

    def is_cancelled(self) -> bool:
        return False

    def is_enough(self) -> bool:
        return True

    def preview(self, pack, state) -> None: ...


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return open_shelf(tmp_path / "weights")


@pytest.mark.parametrize("method, stays", [("image", True), ("views", False), ("refine", False), ("bake", False)])
def test_a_loaded_model_is_let_go_when_another_method_needs_the_memory(shelf, method, stays):
    loaded = shelf.load(MODEL, "cpu")
    with pytest.raises(BadInput):       # there is no input, which is found out later
        run_method(method, {}, {}, Link(), "cpu", shelf)      # type: ignore[arg-type]
    assert (shelf.load(MODEL, "cpu") is loaded) == stays


def test_a_bake_found_good_enough_ends_early_and_the_summary_tells(shelf, tmp_path):
    write_painted_folder(tmp_path, count=6)
    write_mesh(tmp_path / "mesh.npz", textured(ball(2, RADIUS)))
    files = {**collect_view_folder(tmp_path), "mesh.npz": tmp_path / "mesh.npz"}
    outputs, summary = run_method("bake", {"quality": "draft", "texture_px": 512}, files, Link(), "cpu",  # type: ignore
                                  shelf)
    assert summary["finished_early"] is True and "base_color" in {item.name for item in outputs}
