"""Rules that hold for every operator of ours, found by walking through what Blender has registered."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest
from live_stage import Stage

HERE = Path(__file__).resolve().parent
OPERATORS = {kind.bl_idname.partition(".")[2]: kind for kind in
             (getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("SLIPCAST_OT_"))}
# What changes the file at once is one undo step. A job's result comes later and pushes its own; files, models, the
# history and the engine are outside of the file.
UNDO = {"live_snapshot", "before_after", "place_by_camera", "use_camera", "rebake", "dismiss_result", "paint_mask",
        "mask_brush", "replace_mask", "drop_mask", "face_budget", "voxel_remesh", "quad_remesh", "smooth", "symmetrise",
        "flatten_base", "fill_holes", "place_mesh", "check_mesh", "repair_mesh", "paint_picture_mask",
        "drop_picture_mask", "save_picture_mask"}
NO_UNDO = {"generate", "cancel", "start_engine", "stop_engine", "copy_error", "live_visibility", "live_colors",
           "finish_early", "refine", "generate_from_scene", "rebake_views", "render_views", "save_mask",
           "generate_with_masks",
           "refresh_history", "import_result", "run_again", "compare_results", "reveal_result", "delete_result",
           "refresh_models", "fetch_model", "adopt_model", "verify_model", "remove_model", "cancel_fetch",
           "generate_from_picture", "generate_with_picture_mask"}


@pytest.mark.parametrize("name", OPERATORS)
def test_it_says_what_it_does_and_so_does_each_of_its_arguments(name):
    described = getattr(bpy.ops.slipcast, name).get_rna_type()
    assert len(described.description) > 30 and not described.description.endswith(".")
    assert described.name and described.name[0].isupper()
    silent = [each.identifier for each in described.properties
              if each.identifier != "rna_type" and not each.is_hidden and not each.description]
    assert silent == []


def test_undo_flags_are_the_ones_that_fit():
    assert set(OPERATORS) == UNDO | NO_UNDO, "say here whether a new operator is an undo step of its own"
    assert {name for name, kind in OPERATORS.items() if "UNDO" in kind.bl_options} == UNDO


def test_where_one_cannot_be_used_it_says_why(tmp_path):
    """In four situations: at least one of them is none for it, or else its execute tells a script what is missing."""
    said = [(name, _why_not(name)) for _ in _situations(tmp_path) for name in OPERATORS]
    assert not [(name, words) for name, words in said if "context is incorrect" in words]
    grey = {name for name, words in said if len(words.split()) >= 3}
    for name in set(OPERATORS) - grey:
        with pytest.raises(RuntimeError, match=r"Error: (\S+ ){3}"):
            getattr(bpy.ops.slipcast, name)()


def _situations(tmp_path) -> Iterator[None]:
    yield                                                              # an empty file, nothing under way
    bpy.ops.mesh.primitive_cube_add()
    yield                                                              # a mesh that was never ours
    bpy.ops.object.mode_set(mode="EDIT")
    yield
    bpy.ops.object.mode_set(mode="OBJECT")
    stage = Stage(tmp_path)
    yield                                                              # a job is under way
    stage.session.close()


def _why_not(name: str) -> str:
    """The tooltip's words; "" where it can be used."""
    operator = getattr(bpy.ops.slipcast, name)
    if operator.poll():
        return ""
    with pytest.raises(RuntimeError) as caught:
        operator()
    return str(caught.value).partition(".poll()")[2].strip()


def test_each_is_called_in_a_check_that_looks_at_what_came_of_it():
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("check_*.py"))]
    unchecked = [name for name in OPERATORS if not any(_checks_of(module, name) for module in modules)]
    assert unchecked == [], "no check calls these and then asserts more than what they returned"


def _checks_of(module: ast.Module, operator: str) -> list[ast.FunctionDef]:
    """Functions named test_ that call the operator, or a helper of the file that does, and assert something else."""
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    helpers = {each.name for each in functions if not each.name.startswith("test_") and _calls(each, {operator}, True)}
    return [each for each in functions if each.name.startswith("test_")
            and (_calls(each, {operator}, True) or _calls(each, helpers, False)) and any(
                isinstance(node, ast.Assert) and not _is_about_return_only(node) for node in ast.walk(each))]


def _calls(node: ast.AST, names: set[str], of_operators: bool) -> bool:
    for call in (each for each in ast.walk(node) if isinstance(each, ast.Call)):
        called = call.func
        if of_operators and isinstance(called, ast.Attribute) and called.attr in names and \
                ast.unparse(called.value) in ("OPS", "bpy.ops.slipcast"):
            return True
        if not of_operators and isinstance(called, ast.Name) and called.id in names:
            return True
    return False


def _is_about_return_only(node: ast.Assert) -> bool:
    return isinstance(node.test, ast.Compare) and ast.unparse(node.test.comparators[-1]) in ("{'FINISHED'}",
                                                                                             "{'CANCELLED'}")
