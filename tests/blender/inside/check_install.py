"""Installed, enabled, and gone without a trace when disabled."""
from __future__ import annotations

import sys
from pathlib import Path

import bl_ext.user_default.slipcast as slipcast
import bpy
from bl_ext.user_default.slipcast.addon import cli, pump
from bl_ext.user_default.slipcast.bridge.settings import ViewsSettings

OPERATORS = ("generate", "cancel", "start_engine", "stop_engine", "copy_error", "use_camera", "live_visibility",
             "live_snapshot", "finish_early", "refine", "generate_from_scene", "before_after",
             "place_by_camera")


def _is_operator(name: str) -> bool:
    try:
        getattr(bpy.ops.slipcast, name).get_rna_type()  # hasattr(bpy.ops.x, "anything") is True
    except KeyError:
        return False
    return True


def _traces() -> dict[str, object]:
    """Everything of ours that Blender knows."""
    classes = [name for name in dir(bpy.types) if name.upper().startswith("SLIPCAST")]
    handlers = [handler for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list)
                for handler in getattr(bpy.app.handlers, name) if "slipcast" in getattr(handler, "__module__", "")]
    properties = [f"{kind.__name__}.{name}" for kind in (bpy.types.Scene, bpy.types.WindowManager, bpy.types.Object)
                  for name in kind.bl_rna.properties.keys() if "slipcast" in name.lower()]
    drawn = [f"{kind}.{draw.__name__}" for kind in ("VIEW3D_MT_object", "STATUSBAR_HT_header")
             for draw in getattr(getattr(bpy.types, kind).draw, "_draw_funcs", ()) if "slipcast" in draw.__module__]
    return {"classes": classes, "handlers": handlers, "properties": properties, "drawn": drawn,
            "operators": [name for name in OPERATORS if _is_operator(name)],
            "timer": bpy.app.timers.is_registered(pump._tick), "command": cli._handle is not None,
            "session": pump._session is not None}


def test_all_operators_and_properties_are_there():
    assert [name for name in OPERATORS if not _is_operator(name)] == []
    asked = bpy.context.scene.slipcast
    given = ViewsSettings()
    assert (asked.quality, asked.face_budget, asked.texture_px) == \
        (given.quality, given.face_budget, str(given.texture_px))
    assert asked.bl_rna.properties["face_budget"].hard_max == 200_000
    assert "Largest number of triangles" in asked.bl_rna.properties["face_budget"].description


def test_what_the_menu_offers_exists():
    from bl_ext.user_default.slipcast.addon.panels import menu

    offered = [name for group in (menu.GENERATE, menu.RUNNING, menu.REFINE, menu.TWEAK) for name, _ in group]
    assert len(offered) > 10
    assert [name for name in offered if not _is_operator(name.partition(".")[2])] == []


def test_all_that_can_be_set_has_a_name_and_a_tooltip():
    groups = [prop.fixed_type for prop in bpy.types.Scene.bl_rna.properties if prop.identifier.startswith("slipcast")]
    kinds = [*groups, *(getattr(bpy.ops.slipcast, name).get_rna_type() for name in dir(bpy.ops.slipcast)),
             slipcast.addon.preferences.SLIPCAST_AP_preferences.bl_rna]
    assert len(groups) >= 5 and len(kinds) > 40
    untold = [f"{kind.identifier}.{prop.identifier}" for kind in kinds for prop in kind.properties
              if prop.identifier not in ("rna_type", "name", "bl_idname") and not prop.is_hidden
              and not (prop.name and prop.description)]
    assert untold == []


def test_pyzmq_comes_from_the_wheel_in_the_zip():
    import addon_utils  # noqa: F401  (its site folder is where Blender unpacks wheels)

    sites = [Path(path) for path in sys.path if ".local" in path and "extensions" in path]
    assert len(sites) == 1
    bundled = sorted(sites[0].glob("zmq/__init__.py"))
    assert len(bundled) == 1
    for name in [name for name in sys.modules if name.partition(".")[0] == "zmq"]:
        del sys.modules[name]
    sys.path.insert(0, str(sites[0]))  # a developer's environment has one of its own in front
    import zmq

    assert Path(zmq.__file__) == bundled[0]
    assert zmq.has("curve")


def test_registering_three_times_leaves_nothing_behind():
    before = _traces()
    assert before["drawn"] == ["VIEW3D_MT_object._draw_entry", "STATUSBAR_HT_header._draw_status"]
    assert before["classes"] and "Scene.slipcast" in before["properties"] and before["command"]
    empty = {"classes": [], "handlers": [], "properties": [], "drawn": [], "operators": [], "timer": False,
             "command": False, "session": False}
    for _ in range(3):
        slipcast.unregister()
        assert _traces() == empty
        slipcast.register()
        assert _traces() == before


def test_disabling_and_enabling_as_a_person_does():
    bpy.ops.preferences.addon_disable(module="bl_ext.user_default.slipcast")
    assert not _is_operator("generate")
    bpy.ops.preferences.addon_enable(module="bl_ext.user_default.slipcast")
    assert _is_operator("generate")


def test_no_timer_and_no_engine_when_nothing_was_asked():
    assert not bpy.app.timers.is_registered(pump._tick)
    assert not pump.session().busy and pump.session().engine == "off"
