"""The results that the engine keeps, as the panel and scripts use them."""
from __future__ import annotations

import json
import sys

import bpy
import numpy as np
import pytest
from bl_ext.user_default.slipcast.addon import history_view, pending, pump
from bl_ext.user_default.slipcast.addon.history import HistoryDesk, differing_settings
from bl_ext.user_default.slipcast.addon.job import GenerateRequest
from bl_ext.user_default.slipcast.addon.operators.history import AGAIN, show_settings
from bl_ext.user_default.slipcast.addon.panels.history import job_lines
from bl_ext.user_default.slipcast.addon.scene.files import write_result
from bl_ext.user_default.slipcast.addon.scene.results import Placement
from bl_ext.user_default.slipcast.bridge.errors import Cancelled, Conflict
from bl_ext.user_default.slipcast.bridge.events import Fetched, JobsListed, TurnedDown
from bl_ext.user_default.slipcast.bridge.messages import JobList
from bl_ext.user_default.slipcast.bridge.settings import METHODS, ViewsSettings
from fake_engine import BAD_MASKS, QUICK, SLOW
from fakes import fake_session, view_folder
from played import engine_pid, played_engine, restart_addon, wait
from shapes import grid, png, result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the played engine is started through a shell script")


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    with played_engine(tmp_path, monkeypatch) as given:
        yield given


def _generate(tmp_path, name: str = "skull", **settings) -> str:
    assert bpy.ops.slipcast.generate(folder=str(view_folder(tmp_path / name)), **settings) == {"FINISHED"}
    return bpy.data.objects[name]["slipcast_job"]


def _shown():
    return bpy.context.window_manager.slipcast_history


def _objects() -> list[str]:
    return sorted(thing.name for thing in bpy.data.objects)


def test_list_shows_what_was_made_with_pictures_newest_first_also_after_blender_was_closed(tmp_path):
    first, second = _generate(tmp_path, "skull"), _generate(tmp_path, "cup", quality="draft")
    restart_addon()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert not pump.session().history.loaded
    assert bpy.ops.slipcast.refresh_history() == {"FINISHED"}
    assert [(item.name, item.label, item.state) for item in _shown().jobs] == \
        [(second, "cup", "done"), (first, "skull", "done")]
    desk = pump.session().history
    assert [info.settings["quality"] for info in desk.jobs] == ["draft", "normal"]
    [path] = desk.pictures.values()      # the same picture for both
    # without a window Blender makes no icons; that it can read the picture is what can be seen
    assert tuple(history_view._previews[path.stem].image_size) == (1, 1)
    assert path.read_bytes().startswith(b"\x89PNG") and not desk.busy
    assert _shown().jobs[0].kind == "Views"
    assert _shown().jobs[0].words.startswith("Views, ") and job_lines(desk.jobs[0])[0] == "cup"
    assert any("faces" in line and "MB" in line for line in job_lines(desk.jobs[0]))
    pump.close_session()
    assert not path.exists()
    pump.register()


def test_result_is_imported_again_in_another_file(tmp_path):
    job = _generate(tmp_path)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    restart_addon()
    assert bpy.ops.slipcast.import_result(job=job, target_size=4.0, import_cameras=True) == {"FINISHED"}
    made = bpy.data.objects[f"Slipcast {job[:8]}"]    # nobody has told the label yet
    assert made["slipcast_job"] == job and max(made.dimensions) == pytest.approx(4.0)
    assert [child.type for child in made.children] == ["CAMERA"]
    bpy.ops.slipcast.refresh_history()
    assert bpy.ops.slipcast.import_result() == {"FINISHED"}    # the selected one
    assert bpy.data.objects["skull"]["slipcast_job"] == job and len(pump.session().history.jobs) == 1


def test_run_again_changes_what_was_asked_and_uploads_nothing(tmp_path):
    job = _generate(tmp_path, quality="draft", face_budget=1000)
    (tmp_path / "skull" / "0.png").unlink()
    assert bpy.ops.slipcast.run_again(job=job, changes='{"face_budget": 5000}') == {"FINISHED"}
    again = bpy.data.objects["skull.001"]
    settings = json.loads(again["slipcast_settings"])
    assert again["slipcast_job"] != job and (settings["quality"], settings["face_budget"]) == ("draft", 5000)
    bpy.ops.slipcast.refresh_history()
    newer, older = pump.session().history.jobs
    assert differing_settings(older, newer) == ("face_budget 1000", "face_budget 5000")
    for changes, words in (("{", "no JSON"), ("[1]", "no JSON object"), ('{"quality": "best"}', "quality is 'best'")):
        with pytest.raises(RuntimeError, match=words):
            bpy.ops.slipcast.run_again(job=job, changes=changes)
    assert len(pump.session().history.jobs) == 2


@pytest.mark.parametrize("method", METHODS)
def test_dialog_of_run_again_holds_the_settings_of_each_method(method):
    given = getattr(bpy.context.window_manager.slipcast_again, method)
    info = result().info
    defaults = METHODS[method]()
    another = {"seed": 9} if hasattr(defaults, "seed") else {"texture_px": 512}
    show_settings(given, type(info)(info.job, method, "done", 1, 1, 0.0, settings=another))
    assert set(AGAIN) == set(METHODS)
    assert all(str(getattr(given, name)) == str(value) for name, value in (vars(defaults) | another).items()
               if not isinstance(value, float))


def test_two_results_stand_side_by_side_with_what_differs_written_below(tmp_path):
    pair = [_generate(tmp_path, "skull", face_budget=1000, target_size=1.0),
            _generate(tmp_path, "cup", face_budget=2000, target_size=9.0)]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.cursor.location = (5, 6, 7)
    assert bpy.ops.slipcast.compare_results(job=pair[0], other=pair[1]) == {"FINISHED"}
    bpy.context.view_layer.update()
    left, right = bpy.data.objects["skull"], bpy.data.objects["cup"]
    assert tuple(left.location) == (5, 6, 7) and left["slipcast_job"] == pair[0]
    assert tuple(np.round(left.dimensions, 5)) == tuple(np.round(right.dimensions, 5))
    places = [[thing.matrix_world @ vertex.co for vertex in thing.data.vertices] for thing in (left, right)]
    assert max(place.x for place in places[0]) < min(place.x for place in places[1])
    assert min(place.z for place in places[0]) == pytest.approx(min(place.z for place in places[1]))
    captions = [next(child for child in thing.children if child.type == "FONT").data.body for thing in (left, right)]
    assert captions[0].splitlines()[:2] == ["skull", "face_budget 1000"]
    assert captions[1].splitlines()[:2] == ["cup", "face_budget 2000"]
    space = np.reshape(right["slipcast_views_from_local"].to_list(), (4, 4))
    matrix = np.array(right.matrix_world) @ np.linalg.inv(space)
    views = np.array([(0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 1)], np.float64)     # what the played engine makes
    world = views @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.allclose(world, np.array(places[1]), atol=1e-5)


def test_compare_of_one_says_so_and_of_a_failed_one_leaves_the_scene(tmp_path):
    job = _generate(tmp_path)
    with pytest.raises(RuntimeError):
        bpy.ops.slipcast.generate(folder=str(tmp_path / "skull"), seed=BAD_MASKS)
    bpy.ops.slipcast.refresh_history()
    before = _objects()
    with pytest.raises(RuntimeError, match="Two results are compared"):
        bpy.ops.slipcast.compare_results()
    failed = next(info.job for info in pump.session().history.jobs if info.state == "failed")
    with pytest.raises(RuntimeError, match=r"\(failed\) has no result"):
        bpy.ops.slipcast.compare_results(job=job, other=failed)
    assert _objects() == before and pump.session().history.errand is None


def test_reveal_writes_a_mesh_that_blender_reads_where_it_was_with_its_settings_beside_it(tmp_path):
    job = _generate(tmp_path, "my skull", quality="draft", seed=QUICK)
    assert bpy.ops.slipcast.reveal_result(job=job, folder=str(tmp_path / "out")) == {"FINISHED"}
    place = tmp_path / "out" / f"my_skull {job[:8]}"
    names = {path.name for path in place.iterdir()}
    assert names == {*(f"my_skull.{suffix}" for suffix in ("obj", "mtl", "png", "glb", "stl", "ply")), "cameras.json",
                     "thumbnail.png", "job.json"}
    told = json.loads((place / "job.json").read_text())
    assert told["settings"]["quality"] == "draft" and told["seed"] == QUICK and told["label"] == "my skull"
    for suffix, read_it in (("obj", bpy.ops.wm.obj_import), ("ply", bpy.ops.wm.ply_import),
                            ("stl", bpy.ops.wm.stl_import), ("glb", bpy.ops.import_scene.gltf)):
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        assert read_it(filepath=str(place / f"my_skull.{suffix}")) == {"FINISHED"}
        read = next(thing for thing in bpy.data.objects if thing.type == "MESH")
        corners = {tuple(round(value, 5) for value in read.matrix_world @ vertex.co) for vertex in read.data.vertices}
        assert corners == {(0, 0, 0), (0, 0, 1), (0, 2, 0), (2, 0, 0)} and len(read.data.polygons) == 4, suffix
        if suffix in ("obj", "glb"):
            uvs = {tuple(round(value, 5) for value in corner.uv) for corner in read.data.uv_layers[0].data}
            assert uvs == {(0.1, 0.1), (0.9, 0.1), (0.1, 0.9)} and read.data.materials[0].node_tree.nodes


def test_a_normal_map_goes_into_the_files_that_can_hold_one(tmp_path):
    held = result("c" * 32, normal_map=png(np.full((4, 4, 3), (128, 128, 255), np.uint8)))
    place = write_result(tmp_path, held)
    bpy.ops.import_scene.gltf(filepath=str(next(place.glob("*.glb"))))
    [made] = [thing for thing in bpy.data.objects if thing.type == "MESH"]
    [shader] = [node for node in made.data.materials[0].node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    relief = shader.inputs["Normal"].links[0].from_node
    assert relief.type == "NORMAL_MAP" and tuple(relief.inputs["Color"].links[0].from_node.image.size) == (4, 4)
    assert "norm normal_map.png" in next(place.glob("*.mtl")).read_text() and (place / "normal_map.png").exists()
    corners = np.array([made.matrix_world @ vertex.co for vertex in made.data.vertices])
    assert np.allclose(np.sort(np.unique(corners.round(4), axis=0), axis=0),
                       np.sort(np.unique(grid()[0].round(4), axis=0), axis=0), atol=2e-4)


def test_a_result_with_a_turntable_shows_its_pictures_and_its_film(tmp_path):
    job = _generate(tmp_path, "skull", turntable=True)
    bpy.ops.slipcast.reveal_result(job=job, folder=str(tmp_path / "out"))
    place = tmp_path / "out" / f"skull {job[:8]}"
    assert {f"turntable_{index:03}.png" for index in range(30)} < {path.name for path in place.iterdir()}
    assert (place / "turntable.mp4").read_bytes() == b"film"


def test_reveal_into_a_place_that_is_no_folder_says_so(tmp_path):
    job = _generate(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="Choose another folder"):
        bpy.ops.slipcast.reveal_result(job=job, folder=str(tmp_path / "file"))


def test_delete_takes_the_job_from_the_list_and_leaves_the_object(tmp_path):
    job, kept = _generate(tmp_path), _generate(tmp_path, "cup")
    assert bpy.ops.slipcast.delete_result(job=job) == {"FINISHED"}
    assert [info.job for info in pump.session().history.jobs] == [kept] == [item.name for item in _shown().jobs]
    assert "skull" in bpy.data.objects and not pump.session().busy
    with pytest.raises(RuntimeError, match="does not know this job"):
        bpy.ops.slipcast.delete_result(job=job)
    with pytest.raises(RuntimeError):
        bpy.ops.slipcast.import_result(job=job)
    assert pump.session().job is None


def test_job_that_goes_on_after_blender_closed_is_offered_by_the_file_and_followed(tmp_path, engine):
    engine.keep_engine = True
    restart_addon()
    request = GenerateRequest(view_folder(tmp_path / "skull"), ViewsSettings(seed=SLOW), Placement("skull"),
                              bpy.context.scene.name)
    pump.session().generate(request)
    wait(lambda: pump.session().job.progress is not None)
    pending.note(pump.session())
    assert pending.offered(bpy.context.scene, pump.session()) == ""     # we wait for it ourselves
    job = pump.session().job.job
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    restart_addon()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    scene, session = bpy.context.scene, pump.session()
    assert pending.offered(scene, session) == job
    assert pending.offer_words(scene, session) == "skull was under way when this file was saved."
    bpy.ops.slipcast.refresh_history()
    assert pending.offer_words(scene, session).endswith(": it still runs.")
    session.generate(GenerateRequest(None, None, Placement("skull"), scene.name, kept=job))
    wait(lambda: session.job.progress is not None)      # it is followed with its progress
    session.cancel()
    wait(lambda: session.job is None)
    assert isinstance(session.error, Cancelled) and session.history.find(job).state == "cancelled"
    pending.note(session)
    assert pending.offered(scene, session) == "" and scene.slipcast.pending_label == ""
    session.stop_engine()
    wait(lambda: not session.busy)


def test_finished_job_of_a_saved_file_is_got_by_one_press_or_dismissed(tmp_path):
    job = _generate(tmp_path)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    asked = bpy.context.scene.slipcast
    asked.pending_job, asked.pending_label = job, "skull"
    assert bpy.ops.slipcast.import_result() == {"FINISHED"}
    assert bpy.data.objects["skull"]["slipcast_job"] == job and asked.pending_job == ""
    asked.pending_job = job
    restart_addon()
    assert bpy.ops.slipcast.dismiss_result() == {"FINISHED"}
    assert asked.pending_job == "" and not bpy.ops.slipcast.dismiss_result.poll()


def test_engine_that_dies_while_a_list_is_awaited_is_told_of_and_nothing_waits_for_ever(tmp_path):
    session, client, process = fake_session()
    client.list_jobs = lambda limit=100, before=None: None
    session.start_engine()
    session.history.refresh()
    for _ in range(4):
        session.pump(0.004)
    assert session.history.busy
    process.die("it ended with code 1")
    session.pump(0.004)
    session.pump(0.004)
    assert not session.busy and "stopped before this was done" in str(session.history.error)


def test_pages_follow_each_other_and_pictures_that_cannot_be_had_are_not_asked_for_again():
    desk, asked = HistoryDesk(), []

    class Client:
        def list_jobs(self, limit, before=None):
            asked.append(("list", before))

        def fetch(self, job, names):
            asked.append(("fetch", job))

    infos = [result(f"{number:032x}").info for number in range(3)]
    picture = type(infos[0].artefacts[0])("thumbnail", "image/png", 3, "ab" * 32)
    infos[0] = type(infos[0])(**{**vars(infos[0]), "artefacts": (picture,)})
    desk.refresh()
    desk.advance(Client())
    desk.handle(JobsListed(JobList(tuple(infos[:2]), None, True)))
    desk.advance(Client())
    assert asked == [("list", None), ("fetch", infos[0].job)] and desk.more and desk.busy
    desk.handle(TurnedDown(infos[0].job, Conflict("no")))
    desk.refresh(older=True)
    desk.advance(Client())
    desk.handle(JobsListed(JobList((infos[2],), infos[1].job, False)))
    assert [info.job for info in desk.jobs] == [info.job for info in infos] and not desk.more
    assert asked[2] == ("list", infos[1].job) and desk.error is None
    desk.advance(Client())      # a new list tries the picture once more
    assert asked[3] == ("fetch", infos[0].job)
    desk.handle(Fetched(type(result())(infos[0], {}, {})))
    assert not desk.busy


def test_buttons_say_why_they_are_grey(monkeypatch):
    import bl_ext.user_default.slipcast.addon.operators.history as operators

    assert operators.SLIPCAST_OT_delete_result.why_not(bpy.context) == "Select a result in the list"
    assert operators.SLIPCAST_OT_compare_results.why_not(bpy.context) == "Mark two results in the list"
    monkeypatch.delenv("SLIPCAST_ENGINE_PYTHON")
    assert "has no Python yet" in operators.SLIPCAST_OT_refresh_history.why_not(bpy.context)
    assert engine_pid() == 0 and history_view.active_job(bpy.context) == ""
