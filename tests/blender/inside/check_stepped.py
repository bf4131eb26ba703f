"""Operators that go in steps, ticked as a window ticks them: they end once, and with the truth."""
from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import bpy
import pytest
from bl_ext.user_default.slipcast.addon.operators.scene_targets import start_targets
from bl_ext.user_default.slipcast.addon.operators.stepped import SteppedOperator
from bl_ext.user_default.slipcast.addon.scene import targets, unwrapping
from bl_ext.user_default.slipcast.bridge.errors import BadMesh, BadSettings


class Context:
    """As much of a window as an operator needs that is ticked by hand."""

    def __init__(self) -> None:
        self.timers: list[object] = []
        self.window, self.workspace, self.window_manager = None, self, self

    def event_timer_add(self, step_s: float, window: object) -> object:
        self.timers.append(object())
        return self.timers[-1]

    def event_timer_remove(self, timer: object) -> None:
        self.timers.remove(timer)

    def progress_begin(self, low: float, high: float) -> None:
        self.progress = low

    def progress_update(self, value: float) -> None:
        self.progress = value

    def progress_end(self) -> None:
        self.progress = None

    def modal_handler_add(self, operator: object) -> None:
        return

    def status_text_set(self, text: str | None) -> None:
        self.status = text


class Counting:
    """The methods of a SteppedOperator around given steps; Blender makes no operator for a window that is not there."""

    _steps = _timer = _last = None
    invoke, modal, execute = SteppedOperator.invoke, SteppedOperator.modal, SteppedOperator.execute
    _show, _end, _leave = SteppedOperator._show, SteppedOperator._end, SteppedOperator._leave

    def __init__(self, steps: Iterator) -> None:
        self.steps, self.endings, self.reports = steps, [], []

    def start(self, context: object) -> Iterator:
        return self.steps

    def ending(self, context: object, last: object) -> tuple[set[str], str]:
        self.endings.append(last)
        return {"INFO"}, "done"

    def report(self, level: set[str], words: str) -> None:
        self.reports.append((*level, words))


def _tick(operator: Counting, context: Context, kind: str = "TIMER") -> set[str]:
    return operator.modal(context, SimpleNamespace(type=kind))


def _step(done: int) -> SimpleNamespace:
    return SimpleNamespace(done=done, total=2, words="Counting")


def test_an_error_that_nobody_foresaw_ends_it_and_no_later_tick_tells_of_success():
    def broken() -> Iterator:
        yield _step(0)
        raise TypeError("no such enum")

    operator, context = Counting(broken()), Context()
    assert operator.invoke(context, None) == {"RUNNING_MODAL"} and _tick(operator, context) == {"RUNNING_MODAL"}
    assert context.status.startswith("Counting (1 of 2)") and context.progress == 0.0
    with pytest.raises(TypeError, match="no such enum"):
        _tick(operator, context)
    assert context.timers == [] and context.status is None and context.progress is None
    assert [_tick(operator, context, kind) for kind in ("MOUSEMOVE", "TIMER", "ESC")] == [{"CANCELLED"}] * 3
    assert operator.endings == [] and operator.reports == []


@pytest.mark.parametrize("steps", [(), (_step(0), _step(1))])
def test_steps_of_any_kind_are_gone_through_once_also_where_there_are_none(steps):
    operator, context = Counting(iter(steps)), Context()
    operator.invoke(context, None)
    while _tick(operator, context) == {"RUNNING_MODAL"}:
        pass
    assert operator.endings == [steps[-1] if steps else None] and operator.reports == [("INFO", "done")]
    assert context.timers == []


def test_escape_closes_the_steps():
    closed = []

    def steps() -> Iterator:
        try:
            yield _step(0)
        finally:
            closed.append(True)

    operator, context = Counting(steps()), Context()
    operator.invoke(context, None)
    _tick(operator, context)
    assert _tick(operator, context, "ESC") == {"CANCELLED"} and closed == [True] and operator.endings == []


def test_a_view_folder_needs_no_steps(tmp_path):
    folder, steps = start_targets({"targets": "FOLDER", "folder": str(tmp_path)}.get, bpy.context)
    assert folder == tmp_path and list(steps) == []


def test_a_configuration_of_colours_without_the_standard_view_is_told_of():
    class Other:
        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError('enum "sRGB" not found in (\'ACES\')')

    stage = SimpleNamespace(render=SimpleNamespace(), display_settings=Other(), view_settings=SimpleNamespace())
    with pytest.raises(BadSettings, match="no sRGB display"):
        targets._prepare(stage, targets.TargetSettings())


def test_what_blender_cannot_unwrap_is_told_by_its_name():
    bpy.ops.mesh.primitive_cube_add()
    thing, stage = bpy.context.object, bpy.context.scene
    thing.name, thing.hide_viewport = "Crate", True        # nothing that is hidden can be edited
    with pytest.raises(BadMesh, match="could not unwrap Crate"):
        unwrapping.unwrap(thing, stage, 0.01)
