"""Changes to the selected mesh that need no engine. Each is one undo step, with its settings in the redo panel."""
from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ..scene import edits, health
from .base import SlipcastOperator

NEEDS_MESH = "Select a mesh object, in object mode"
LINKED = "This mesh comes from another file: make it local first"
AXIS_ITEMS = tuple((axis, axis, f"The {axis} axis of the object") for axis in "XYZ")
SYMMETRY_ITEMS = (("NONE", "None", "Both sides on their own"), *AXIS_ITEMS)
KEPT_ITEMS = tuple((f"{sign}{axis}", f"{sign}{axis}", f"Keep the {sign}{axis} half, and mirror it over the other")
                   for axis in "XYZ" for sign in "+-")
BASE_ITEMS = (("CUT", "Cut", "Take off what is below, and close the cut"),
              ("PRESS", "Press", "Move what is below up to that height; faces and UVs stay"))
ORIGIN_ITEMS = (("BASE", "Base", "The middle of the base"), ("CENTRE", "Centre", "The middle of the bounding box"),
                ("KEEP", "Keep", "Where it is"))
UP_ITEMS = tuple((axis, "Keep" if axis == "KEEP" else axis, "As it stands" if axis == "KEEP"
                  else f"Turn it so that the world's {axis} points up") for axis in edits.UP_TURNS)
VOXELS_ALONG = 96      # the longest side, when no size is given


class _TweakOperator(SlipcastOperator):
    """Base: for the active mesh."""

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return why_not(context)

    def do(self, context: bpy.types.Context) -> str:
        words = self.change(context.active_object, context)
        if self.makes_stale:
            health.forget_health(context.active_object.data)
        return words

    makes_stale = True

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        """Do it; returns what was done, for the status bar. Raises BridgeError."""
        raise NotImplementedError


def why_not(context: bpy.types.Context) -> str:
    """Why a tweak cannot run now; "" when it can."""
    thing = context.active_object
    if thing is None or thing.type != "MESH" or context.mode != "OBJECT":
        return NEEDS_MESH
    return LINKED if thing.library is not None or thing.data.library is not None else ""


class SLIPCAST_OT_face_budget(_TweakOperator):
    """Reduce the mesh to a number of triangles. UVs, materials and vertex groups are kept"""

    bl_idname = "slipcast.face_budget"
    bl_label = "Face Budget"
    bl_options = {"REGISTER", "UNDO"}

    triangles: IntProperty(name="Triangles", default=5000, min=4, soft_max=500_000,
                           description="The most triangles it may have afterwards")
    symmetry: EnumProperty(name="Symmetry", items=SYMMETRY_ITEMS, description="Axis that both sides stay alike across")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        before = edits.triangle_count(thing.data)
        after = edits.decimate_to(thing, context, self.triangles, self.symmetry)
        return f"{thing.name}: {before:,} to {after:,} triangles"


class SLIPCAST_OT_voxel_remesh(_TweakOperator):
    """Wrap one closed skin around everything, made of cubes of one size. UVs are lost: bake again afterwards"""

    bl_idname = "slipcast.voxel_remesh"
    bl_label = "Voxel Remesh"
    bl_options = {"REGISTER", "UNDO"}

    size: FloatProperty(name="Voxel Size", default=0.0, min=0.0, subtype="DISTANCE", precision=4,
                        description=f"Side of a cube before the object's scale; 0: longest side / {VOXELS_ALONG}")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        size = self.size or max(edits.mesh_sides(thing.data)) / VOXELS_ALONG
        return f"{thing.name}: {edits.voxel_remesh(thing, context, size):,} faces"


class SLIPCAST_OT_quad_remesh(_TweakOperator):
    """Rebuild the mesh from quads that follow its shape (QuadriFlow). UVs are lost: bake again afterwards"""

    bl_idname = "slipcast.quad_remesh"
    bl_label = "Quad Remesh"
    bl_options = {"REGISTER", "UNDO"}

    faces: IntProperty(name="Faces", default=4000, min=8, soft_max=200_000, description="About how many quads")
    seed: IntProperty(name="Seed", default=0, min=0, description="Another number, another layout of the quads")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        return f"{thing.name}: {edits.quad_remesh(thing, context, self.faces, self.seed):,} faces"


class SLIPCAST_OT_smooth(_TweakOperator):
    """Smooth bumps away without shrinking the mesh. Faces and UVs stay"""

    bl_idname = "slipcast.smooth"
    bl_label = "Smooth"
    bl_options = {"REGISTER", "UNDO"}

    rounds: IntProperty(name="Rounds", default=5, min=1, soft_max=50, max=1000, description="More rounds, smoother")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        edits.smooth_mesh(thing.data, self.rounds)
        return f"{thing.name}: smoothed"


class SLIPCAST_OT_symmetrise(_TweakOperator):
    """Mirror one half of the mesh over the other, across the object's origin"""

    bl_idname = "slipcast.symmetrise"
    bl_label = "Symmetrise"
    bl_options = {"REGISTER", "UNDO"}

    keep: EnumProperty(name="Keep", items=KEPT_ITEMS, description="The half that stays and is mirrored")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        edits.symmetrise_mesh(thing.data, self.keep)
        return f"{thing.name}: symmetric across {self.keep[1]}"


class SLIPCAST_OT_flatten_base(_TweakOperator):
    """Give the object a flat base, so that it stands"""

    bl_idname = "slipcast.flatten_base"
    bl_label = "Flatten Base"
    bl_options = {"REGISTER", "UNDO"}

    share: FloatProperty(name="Height", default=0.03, min=0.0, max=0.95, subtype="FACTOR",
                         description="Where the base is, as a part of the object's height")
    way: EnumProperty(name="Way", items=BASE_ITEMS, description="What becomes of what is below")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        edits.flatten_base(thing, self.share, self.way == "CUT")
        return f"{thing.name}: stands on a flat base"


class SLIPCAST_OT_fill_holes(_TweakOperator):
    """Close the holes of the mesh with new faces, all or only small ones"""

    bl_idname = "slipcast.fill_holes"
    bl_label = "Fill Holes"
    bl_options = {"REGISTER", "UNDO"}

    most_edges: IntProperty(name="Largest", default=0, min=0, description="Edges of the largest hole to close; 0: all")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        added = edits.fill_mesh_holes(thing.data, self.most_edges)
        return f"{thing.name}: {added:,} faces added" if added else f"{thing.name} has no such holes"


class SLIPCAST_OT_place_mesh(_TweakOperator):
    """Set origin, height and up axis of the mesh. Rotation and scale are applied, the middle of its base stays put"""

    bl_idname = "slipcast.place_mesh"
    bl_label = "Origin, Size and Up"
    bl_options = {"REGISTER", "UNDO"}

    makes_stale = False
    origin: EnumProperty(name="Origin", items=ORIGIN_ITEMS, description="Where the origin goes")
    height: FloatProperty(name="Height", default=0.0, min=0.0, subtype="DISTANCE", unit="LENGTH",
                          description="Real height of the object; 0: as it is")
    up: EnumProperty(name="Up", items=UP_ITEMS, description="Which of its sides is turned up")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        edits.place_object(thing, self.origin, self.height, self.up)
        return f"{thing.name}: placed"


class SLIPCAST_OT_check_mesh(_TweakOperator):
    """Count what is wrong with the mesh: holes, parts, faces inside out, faces that cut through each other"""

    bl_idname = "slipcast.check_mesh"
    bl_label = "Check Mesh"
    bl_options = {"REGISTER", "UNDO"}   # what is found is kept with the mesh

    makes_stale = False

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        found = health.remember_health(thing.data)
        return f"{thing.name}: {health.health_line(found)} {health.printability_words(found)}"


class SLIPCAST_OT_repair_mesh(_TweakOperator):
    """Merge points that are one, take out loose and doubled faces, close holes and turn faces outwards"""

    bl_idname = "slipcast.repair_mesh"
    bl_label = "Repair"
    bl_options = {"REGISTER", "UNDO"}

    makes_stale = False
    drop_small: BoolProperty(name="Drop Small Parts", default=False,
                             description="Take out loose parts below the size given")
    smallest_part: FloatProperty(name="Smallest Part", default=0.01, min=0.0, max=1.0, subtype="FACTOR",
                                 description="Share of the whole surface below which a part goes")

    def change(self, thing: bpy.types.Object, context: bpy.types.Context) -> str:
        edits.refuse_shape_keys(thing.data, "a repair")
        health.repair_mesh(thing.data, self.smallest_part if self.drop_small else 0.0)
        found = health.remember_health(thing.data)
        return f"{thing.name}: {health.health_line(found)} {health.printability_words(found)}"


CLASSES: tuple[Any, ...] = (SLIPCAST_OT_face_budget, SLIPCAST_OT_voxel_remesh, SLIPCAST_OT_quad_remesh,
                            SLIPCAST_OT_smooth, SLIPCAST_OT_symmetrise, SLIPCAST_OT_flatten_base,
                            SLIPCAST_OT_fill_holes, SLIPCAST_OT_place_mesh, SLIPCAST_OT_check_mesh,
                            SLIPCAST_OT_repair_mesh)


def register() -> None:
    for made in CLASSES:
        bpy.utils.register_class(made)


def unregister() -> None:
    for made in reversed(CLASSES):
        bpy.utils.unregister_class(made)
