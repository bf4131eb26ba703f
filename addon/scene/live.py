"""The live mesh: an object that follows a running job, marked as work in progress.

Nothing of Blender's is held from one call to the next, since undo, file load and people take objects away: the object
is found by the job's id in a property of its own. Positions are written in place while the faces stay the same; other
faces are written in one go when their edges have been found, on a thread. Main thread only.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...bridge.errors import BridgeError, Conflict
from ...bridge.messages import Preview
from ..background import BackgroundCall
from .busy import busy_words
from .live_arrays import LiveFrame, Topology, find_topology, linear_colours, place_of, read_frame
from .live_marks import COLLECTION_KEY, COLOUR_NAME, dress, drop_unused_materials, live_collection, undress
from .originals import JOB_KEY, METHOD_KEY
from .results import Placement, slipcast_collection
from .scenes import scene_of
from .standing import standing
from .undo import push_undo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpy.types import Mesh, Object

log = logging.getLogger(__name__)

LIVE_KEY = "slipcast_live"              # of the object: the job it follows
_TOPOLOGY_KEY = "slipcast_topology"     # of the mesh: which faces it has; goes back with an undo, as the faces do
WORK_IN_PROGRESS = "work in progress"


@dataclass(frozen=True)
class _End:
    """A job that is over. name: what its object was last called. good: the state of it that is to stay."""

    job: str
    method: str
    placement: Placement
    scene_name: str
    name: str
    good: tuple[LiveFrame, Topology] | None


class LiveMesh:
    """Follows one job at a time: begin, take, pump again and again, end."""

    def __init__(self) -> None:
        self._job, self._method, self._scene_name = "", "", ""
        self._placement = Placement("")
        self._name = ""                                     # what the object was last called
        self._frame: LiveFrame | None = None                # the newest
        self._shown: LiveFrame | None = None                # what the object shows; the last good state
        self._finding: BackgroundCall[Topology] | None = None
        self._topology: Topology | None = None
        self._matrix = np.eye(4)                            # where we put the object; elsewhere: a person moved it
        self._undone = False                                # an undo may have taken the object away
        self._ended: set[str] = set()
        self._ends: list[_End] = []                         # still to be carried out
        self.visible = True
        self.deleted = False                                # by a person: it is not made again unless asked for

    @property
    def job(self) -> str:
        """The job that is followed, "" when there is none."""
        return self._job

    @property
    def busy(self) -> bool:
        """Whether there is an end that could not be carried out yet: pump."""
        return bool(self._ends)

    @property
    def has_mesh(self) -> bool:
        """Whether there is a state that could be kept."""
        return self._shown is not None or self._frame is not None

    @property
    def faces(self) -> int:
        """Of the state that is shown, or else has come."""
        frame = self._shown or self._frame
        return 0 if frame is None else len(frame.faces)

    @property
    def has_colours(self) -> bool:
        """Whether the state that is shown has colours of its vertices."""
        return self._shown is not None and self._shown.colours is not None

    # --- a job's life -----------------------------------------------------------------------------------------------
    def begin(self, job: str, method: str, placement: Placement, scene_name: str) -> None:
        """Follow this job from now on; its object appears with its first preview."""
        self.end()
        self._ended.discard(job)
        self._job, self._method, self._placement, self._scene_name = job, method, placement, scene_name
        self.visible, self.deleted = True, False

    def take(self, preview: Preview, frames: Sequence[memoryview]) -> None:
        """A preview has come; the newest wins. One that is no mesh is left out: the next one may be."""
        try:
            self._frame = read_frame(preview, frames)
        except BridgeError as error:
            log.info("a preview is left out: %s", error)

    def pump(self) -> str:
        """Show what has come, when Blender may be written to. Cheap when there is nothing new. Returns the name of what
        an end that had to wait has left by now, else ""."""
        name = self._carry_out_ends() if self._ends else ""
        self._follow()
        return name

    def _follow(self) -> None:
        frame = self._frame
        if frame is None or not self._job or self.deleted or not self.visible or busy_words():
            return
        thing = self._find()
        if thing is None and self._name and not self._undone:
            self.deleted = True
            return
        if thing is not None and thing.mode != "OBJECT":
            return                                          # a mesh in edit mode is not the one that is shown
        if not self._prepare(frame):
            return
        if thing is None:
            thing = self._make()
        self._frame, self._undone = None, False
        self._write(thing, frame)

    def end(self, keep: bool = False) -> str:
        """The job has ended: take the object away. keep: leave its last good state as an object; its name, "" if there
        is none, or Blender may not be written to: pump does all of it then.

        Pushes an undo step when it leaves something.
        """
        if not self._job:
            return ""
        self._ends.append(self._as_end(self._good() if keep else None))
        self._ended.add(self._job)
        self._job = self._name = ""
        self._frame = self._shown = self._finding = self._topology = None
        return self._carry_out_ends()

    def _as_end(self, good: tuple[LiveFrame, Topology] | None) -> _End:
        return _End(self._job, self._method, self._placement, self._scene_name, self._name, good)

    def _carry_out_ends(self) -> str:
        if busy_words():
            return ""
        name = ""
        ends, self._ends = self._ends, []
        for end in ends:
            name = _keep(end).name if end.good is not None else name
            thing = _find(end.job, end.name)
            if thing is not None:
                _remove(thing)
            for other in [other for other in bpy.data.objects if other.get(LIVE_KEY) == end.job]:
                undress(other)                              # a copy that a person has made
                del other[LIVE_KEY]
        if name:
            push_undo(f"Slipcast Keep {name}")
        return name

    def snapshot(self) -> Object:
        """The newest good state as an object of its own that stays. The undo step is the caller's business.

        Raises Conflict when no mesh has come yet.
        """
        good = self._good()
        if good is None:
            raise Conflict("There is no mesh to keep yet.", "Wait until the live mesh appears.")
        return _keep(self._as_end(good))

    def _good(self) -> tuple[LiveFrame, Topology] | None:
        for frame in (self._frame, self._shown):
            if frame is None or not self._job:
                continue
            if self._topology is not None and self._topology.key == frame.key:
                return frame, self._topology
            try:
                return frame, find_topology(frame)
            except BridgeError as error:
                log.info("a preview is left out: %s", error)
        return None

    # --- what people do ---------------------------------------------------------------------------------------------
    def show(self, visible: bool) -> None:
        """Hide it, which also spares the work, or show it; also one that was deleted comes back."""
        self.visible = visible
        thing = self._find() if self._job else None
        if thing is not None:
            thing.hide_viewport = not visible
        if visible:
            self._undone = self._undone or thing is None
            self.deleted = False
            self._frame = self._frame or self._shown

    def after_undo(self) -> None:
        """Undo and redo know nothing of the job: its object may be gone, or hold an older state.

        Takes nothing away: Blender does not survive that before an undo is through (see tidy).
        """
        self._undone = self._undone or not self.deleted
        if self.deleted and self._find() is not None:
            self.deleted = False
        if self._frame is None and not self.deleted:
            self._frame = self._shown                       # what is in the scene may be an old state

    @property
    def has_stale(self) -> bool:
        """Whether an undo has brought back the live mesh of a job that has ended."""
        return any(thing.get(LIVE_KEY, "") in self._ended for thing in bpy.data.objects)

    def tidy(self) -> None:
        """Take away what `has_stale` finds."""
        for stale in [thing for thing in bpy.data.objects if thing.get(LIVE_KEY, "") in self._ended]:
            _remove(stale)

    # --- how --------------------------------------------------------------------------------------------------------
    def _find(self) -> Object | None:
        thing = _find(self._job, self._name)
        if thing is not None:
            self._name = thing.name
        return thing

    def _scene(self) -> bpy.types.Scene:
        return scene_of(self._job, self._scene_name)

    def _make(self) -> Object:
        name = f"{self._placement.name} ({WORK_IN_PROGRESS})"
        thing = bpy.data.objects.new(name, bpy.data.meshes.new(name))
        thing[LIVE_KEY] = self._job
        dress(thing)
        live_collection(self._scene()).objects.link(thing)
        self._name, self._matrix = thing.name, np.eye(4)
        return thing

    def _prepare(self, frame: LiveFrame) -> bool:
        """Whether the edges of these faces are known; if not they are being looked for."""
        if self._topology is not None and self._topology.key == frame.key:
            return True
        if self._finding is None:
            self._finding = BackgroundCall(lambda: find_topology(frame), "live-mesh")
            return False
        if not self._finding.done:
            return False
        finding, self._finding = self._finding, None
        try:
            self._topology = finding.result()
        except BridgeError as error:
            log.info("a preview is left out: %s", error)
            self._frame = None
            return False
        return self._topology.key == frame.key

    def _write(self, thing: Object, frame: LiveFrame) -> None:
        mesh: Mesh = thing.data  # type: ignore[assignment]
        assert self._topology is not None
        if mesh.get(_TOPOLOGY_KEY) != frame.key or len(mesh.vertices) != len(frame.positions):
            _write_topology(mesh, self._topology)
            mesh[_TOPOLOGY_KEY] = frame.key
            dress(thing, frame.colours is not None)
        _write_positions(mesh, frame, frame.positions)
        if np.allclose(np.array(thing.matrix_basis), self._matrix, atol=1e-5):   # nobody has moved it
            wanted = _place(frame, self._placement)
            if not np.allclose(wanted, self._matrix, atol=1e-7):    # it costs a look at the whole scene
                thing.matrix_basis = wanted.T.tolist()   # Blender takes columns
                self._matrix = np.array(thing.matrix_basis)
        if thing.hide_viewport:         # an undo to when it was hidden
            thing.hide_viewport = False
        self._shown = frame


def _find(job: str, name: str) -> Object | None:
    """The live mesh of `job`, last called `name` ("": there is none yet)."""
    if not job or not name:
        return None
    thing = bpy.data.objects.get(name)
    if thing is not None and thing.get(LIVE_KEY) == job:
        return thing
    return next((other for other in bpy.data.objects if other.get(LIVE_KEY) == job
                 and other.library is None and other.type == "MESH"), None)


def _keep(end: _End) -> Object:
    assert end.good is not None
    frame, topology = end.good
    matrix = _place(frame, end.placement)
    base = tuple((matrix[:3, :3] @ standing(frame.positions)[0] + matrix[:3, 3]).tolist())
    mesh = bpy.data.meshes.new(f"{end.placement.name} {frame.stage}")
    local = frame.positions @ matrix[:3, :3].T + (matrix[:3, 3] - base)
    _write_topology(mesh, topology)
    _write_positions(mesh, frame, np.ascontiguousarray(local, np.float32))
    made = bpy.data.objects.new(mesh.name, mesh)
    made.location = base
    undress(made, frame.colours is not None)
    made[JOB_KEY], made[METHOD_KEY], made["slipcast_stage"] = end.job, end.method, frame.stage
    slipcast_collection(bpy.data, scene_of(end.job, end.scene_name)).objects.link(made)
    return made


def _place(frame: LiveFrame, placement: Placement) -> np.ndarray:
    return place_of(frame.positions, None if placement.in_place else placement.base, placement.target_size)


def _write_topology(mesh: Mesh, topology: Topology) -> None:
    """Source: own measurements; with update(calc_edges=True) it takes 110 ms for 200,000 faces, so 20."""
    faces = topology.faces
    mesh.clear_geometry()
    mesh.vertices.add(topology.vertices)
    mesh.edges.add(len(topology.edges))
    mesh.loops.add(faces.size)
    mesh.polygons.add(len(faces))
    mesh.attributes[".edge_verts"].data.foreach_set("value", topology.edges.ravel())  # type: ignore[attr-defined]
    mesh.attributes[".corner_vert"].data.foreach_set("value", faces.ravel())  # type: ignore[attr-defined]
    corner_edges = mesh.attributes.get(".corner_edge") or mesh.attributes.new(".corner_edge", "INT", "CORNER")
    corner_edges.data.foreach_set("value", topology.corner_edges.ravel())  # type: ignore[attr-defined]
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))


def _write_positions(mesh: Mesh, frame: LiveFrame, positions: np.ndarray) -> None:
    held = mesh.attributes["position"].data
    held.foreach_set("vector", np.ascontiguousarray(positions, np.float32).ravel())  # type: ignore[attr-defined]
    if frame.colours is not None:
        colours = mesh.attributes.get(COLOUR_NAME) or mesh.attributes.new(COLOUR_NAME, "FLOAT_COLOR", "POINT")
        colours.data.foreach_set("color", linear_colours(frame.colours).ravel())  # type: ignore[attr-defined]
        if mesh.color_attributes.active_color_name != COLOUR_NAME:
            mesh.color_attributes.active_color_name = COLOUR_NAME
    elif COLOUR_NAME in mesh.attributes:
        mesh.attributes.remove(mesh.attributes[COLOUR_NAME])
    mesh.update()


def _remove(thing: Object) -> None:
    if thing.mode != "OBJECT":      # else Blender never frees the mesh that is being edited
        windows = bpy.context.window_manager.windows
        with bpy.context.temp_override(**({"window": windows[0]} if len(windows) else {}), active_object=thing,
                                       object=thing):
            bpy.ops.object.mode_set(mode="OBJECT")
    mesh = thing.data
    homes = list(thing.users_collection)
    bpy.data.objects.remove(thing)
    if mesh is not None and not mesh.users:
        bpy.data.meshes.remove(mesh)  # type: ignore[arg-type]
    for home in homes:
        if COLLECTION_KEY in home and not home.objects and not home.children:
            bpy.data.collections.remove(home)
    drop_unused_materials()
