"""Bake colour, normals and occlusion of one mesh into textures of another, at the UVs that it has.

All work is done in a scene of its own, on copies: the open scene, its render settings and its selection are never
written to, and whatever fails leaves nothing behind. Only at the end the object gets the new material.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ...bridge.errors import BadMesh, BadSettings
from .cage import cage_distance, place_points
from .dressing import wear
from .fill import fill_from_around
from .materials import LABELS, groups_of, node_tree_of, textured_material
from .originals import carry_origin, kept_original
from .scratch import scratch_data
from .solid import linked, mesh_in_stage
from .unlit import make_unlit
from .unwrapping import NewUvs, context_of, give_uvs, has_uvs, unwrap, uv_area

if TYPE_CHECKING:
    from bpy.types import Context, Image, Mesh, Object, Scene

SMALLEST_PX, LARGEST_PX = 64, 8192
SOLID_TYPES = ("MESH", "CURVE", "SURFACE", "META", "FONT")
NAME = "slipcast bake"
OCCLUSION_REACH = 0.25      # of the object's longest side: what is farther away casts no shade
TOLD_OVERLAP = 0.02         # of the UVs' area
TOLD_MISSED = 0.002         # of the texels
PLAIN_SAMPLES = 4           # of colours and normals, which have no noise but steps within a texel
_KINDS = {"color": "EMIT", "normal": "NORMAL", "occlusion": "AO"}
_EMPTY = {"color": (0.5, 0.5, 0.5, 0.0), "normal": (0.5, 0.5, 1.0, 0.0), "occlusion": (1.0, 1.0, 1.0, 0.0)}
_STEP_WORDS = {"color": "Baking the colours", "normal": "Baking the normals", "occlusion": "Baking the occlusion"}


@dataclass(frozen=True)
class RebakeSettings:
    texture_px: int = 2048    # width and height
    padding_px: int = 16      # how far colours reach over the edges of the UV islands
    color: bool = True
    normal: bool = True
    occlusion: bool = False
    distance: float = 0.0     # scene units between the two surfaces, at most; 0 = found out
    samples: int = 32         # rays a texel of the occlusion


@dataclass(frozen=True)
class RebakeOutcome:
    """made: label -> image. distance: scene units, as it was used. missed: share of the texels that found nothing of
    the source. overlap: share of the UVs' area that lies on top of other UVs, or outside the texture."""

    material: bpy.types.Material
    made: dict[str, Image]
    distance: float
    unwrapped: bool
    missed: float
    overlap: float

    def words(self) -> list[str]:
        """What the person has to know of it."""
        told = []
        if self.unwrapped:
            told.append("It had no UVs, so new ones were made.")
        if self.overlap > TOLD_OVERLAP:
            told.append(f"{self.overlap:.0%} of its UVs lie on top of others or outside the texture: those places "
                        "share colours or have none.")
        if self.missed > TOLD_MISSED:
            told.append(f"{self.missed:.1%} of the texture found nothing of the source and took on what is around it: "
                        "try a larger distance.")
        return told


@dataclass(frozen=True)
class RebakeStep:
    """done of total passes are baked; words: what comes next. outcome: with the last step."""

    done: int
    total: int
    words: str
    outcome: RebakeOutcome | None = None


def rebake(thing: Object, sources: Sequence[Object], context: Context, settings: RebakeSettings
           ) -> Iterator[RebakeStep]:
    """Bake `sources` onto `thing`; one step of the iterator is one pass. Without sources: the mesh that `thing` came
    from the engine with.

    `thing` keeps its mesh; it gets UVs where it has none, and a new material with new images in all its slots. What
    it wore before is kept with it (originals.py). Closing the iterator early, or an error, changes nothing.
    Raises BadMesh, BadSettings.
    """
    _check(thing, sources, context, settings)
    wanted = [name for name in ("normal", "occlusion", "color") if getattr(settings, name)]   # colour changes materials
    with scratch_data(bpy.data) as kept:
        yield RebakeStep(0, len(wanted) + 1, "Preparing")
        stage = _stage_scene(context)
        low, new_uvs = _low_copy(thing, stage, settings)
        highs = [_high_copy(source, stage) for source in sources] or [_original_copy(thing, stage)]
        distance = settings.distance or cage_distance(low, highs, stage)
        if settings.occlusion:
            stage.world = _world_with_reach(low)
        baker = _Baker(stage, low, highs, settings, distance)
        covered = baker.coverage()
        made: dict[str, Image] = {}
        missed = 0.0
        for number, name in enumerate(wanted):
            yield RebakeStep(number + 1, len(wanted) + 1, _STEP_WORDS[name])
            made[name], lost = baker.bake(name, f"{thing.name} {LABELS[name]}", covered)
            missed = max(missed, lost)
        uv_name = (new_uvs or thing.data.uv_layers.active).name  # type: ignore[union-attr]
        material = textured_material(bpy.data, f"{thing.name} Baked",
                                     *map(made.get, ("color", "normal", "occlusion")), uv_map=uv_name)
        outcome = RebakeOutcome(material, made, distance, new_uvs is not None, missed,
                                _overlap(low.data, covered))  # type: ignore[arg-type]
        kept.extend([material, *made.values(), *groups_of(material)])
    if new_uvs is not None:
        give_uvs(thing, new_uvs)
    wear(thing, material)
    carry_origin(thing, sources)
    yield RebakeStep(len(wanted) + 1, len(wanted) + 1, "Done", outcome)


def _check(thing: Object, sources: Sequence[Object], context: Context, settings: RebakeSettings) -> None:
    if not hasattr(context.scene, "cycles"):
        raise BadSettings("Textures are baked by Cycles, which is switched off.",
                          "Switch on Cycles Render Engine under Preferences > Add-ons.")
    if not (settings.color or settings.normal or settings.occlusion):
        raise BadSettings("Nothing is to be baked.", "Switch on colour, normals or occlusion.")
    if not SMALLEST_PX <= settings.texture_px <= LARGEST_PX:
        raise BadSettings(f"{settings.texture_px} pixels are asked for.", f"Use {SMALLEST_PX} to {LARGEST_PX}.")
    if settings.padding_px < 0 or settings.distance < 0 or settings.samples < 1:
        raise BadSettings("Padding and distance cannot be negative, and a bake needs at least one sample.")
    flat = next((each for each in (thing, *sources) if not min(map(abs, each.matrix_world.to_scale())) > 0), None)
    if flat is not None:
        raise BadMesh(f"{flat.name} is scaled to nothing along an axis.", "Set its scale to another number than 0.")
    if not len(thing.data.polygons):  # type: ignore[union-attr]
        raise BadMesh(f"{thing.name} has no faces.")
    if thing in sources:
        raise BadSettings(f"{thing.name} cannot be baked onto itself.", "Choose another object as the source.")
    wrong = next((source for source in sources if source.type not in SOLID_TYPES), None)
    if wrong is not None:
        raise BadSettings(f"{wrong.name} has no surface to bake from.", "Choose a mesh.")
    if not sources and kept_original(thing) is None:
        raise BadSettings(f"There is nothing to bake onto {thing.name}.",
                          "Select the detailed mesh first, then this one with Shift, or name the source.")


# --- the stage ------------------------------------------------------------------------------------------------------
def _stage_scene(context: Context) -> Scene:
    stage = bpy.data.scenes.new(NAME)
    stage.frame_current = context.scene.frame_current
    stage.render.engine = "CYCLES"
    stage.cycles.device = context.scene.cycles.device
    stage.cycles.use_denoising = stage.cycles.use_adaptive_sampling = False
    return stage


def _world_with_reach(low: Object) -> bpy.types.World:
    world = bpy.data.worlds.new(NAME)
    world.light_settings.distance = OCCLUSION_REACH * float(np.ptp(place_points(low), axis=0).max())
    return world


def _low_copy(thing: Object, stage: Scene, settings: RebakeSettings) -> tuple[Object, NewUvs | None]:
    """What `thing` looks like with its modifiers, in its own place; and the UVs made for its mesh, or None where it has
    some."""
    copy = linked(thing.copy(), stage)
    copy.data = thing.data.copy()  # type: ignore[union-attr]
    new_uvs = None
    if not has_uvs(copy.data):  # type: ignore[arg-type]
        new_uvs = unwrap(copy, stage, 2 * settings.padding_px / settings.texture_px)
    made = mesh_in_stage(copy, stage)
    if not made.polygons:
        raise BadMesh(f"The modifiers of {thing.name} leave no faces to bake onto.", "Switch those off that take all.")
    if made.uv_layers.active is None:
        raise BadMesh(f"The modifiers of {thing.name} drop its UVs.", "Apply them, or switch them off.")
    made.materials.clear()
    low = linked(bpy.data.objects.new(NAME, made), stage)
    low.matrix_world = copy.matrix_world.copy()
    stage.collection.objects.unlink(copy)
    return low, new_uvs


def _high_copy(source: Object, stage: Scene) -> Object:
    """What `source` looks like with its modifiers, in its own place: its textures may lie in its own space."""
    copy = linked(source.copy(), stage)
    made = mesh_in_stage(copy, stage)
    if not made.polygons:
        raise BadMesh(f"{source.name} has no faces to bake from.")
    high = linked(bpy.data.objects.new(NAME, made), stage)
    high.matrix_world = copy.matrix_world.copy()
    stage.collection.objects.unlink(copy)
    return high


def _original_copy(thing: Object, stage: Scene) -> Object:
    original = kept_original(thing)
    assert original is not None
    high = linked(bpy.data.objects.new(NAME, original.copy()), stage)
    high.matrix_world = thing.matrix_world.copy()
    return high


# --- baking ---------------------------------------------------------------------------------------------------------
class _Baker:
    """Cycles, asked for one pass after the other."""

    def __init__(self, stage: Scene, low: Object, highs: Sequence[Object], settings: RebakeSettings,
                 distance: float) -> None:
        self._stage, self._low, self._highs = stage, low, highs
        self._settings = settings
        # Blender measures the one in the space of the mesh that is baked onto, the other in the world's
        scales = np.abs(np.array(low.matrix_world.to_scale()))
        self._extrusion = distance / float(scales.min())
        self._reach = distance * (1 + float(scales.max() / scales.min()))
        material = bpy.data.materials.new(NAME)
        tree = node_tree_of(material)
        self._node: Any = tree.nodes.new("ShaderNodeTexImage")
        tree.nodes.active = self._node
        low.data.materials.append(material)  # type: ignore[union-attr]
        layer = stage.view_layers[0]
        layer.update()
        layer.objects.active = low
        for thing in (low, *highs):
            thing.select_set(True, view_layer=layer)

    def coverage(self) -> np.ndarray:
        """(H, W) bool: texels that belong to the mesh."""
        image = self._image("coverage", "normal")
        self._run(image, "NORMAL", (), 0, 1)
        return _pixels(image)[..., 3] > 0

    def bake(self, name: str, title: str, covered: np.ndarray) -> tuple[Image, float]:
        """(the packed image, share of the covered texels that found nothing)."""
        if name == "color":
            for high in self._highs:
                make_unlit(high.data)  # type: ignore[arg-type]
        image = self._image(title, name)
        samples = self._settings.samples if name == "occlusion" else PLAIN_SAMPLES
        self._run(image, _KINDS[name], self._highs, self._settings.padding_px, samples)
        pixels = _pixels(image)
        known = pixels[..., 3] > 0
        if not known.any():
            raise BadMesh("No point of the source lies near the mesh.", "Choose a larger distance.")
        lost = covered & ~known
        pixels[..., :3] = np.where(lost[..., None], fill_from_around(pixels[..., :3], known), pixels[..., :3])
        if name == "color":   # seen from far away, or by a careless filter, what is between the islands
            pixels[~(known | covered), :3] = pixels[known, :3].mean(axis=0)
        pixels[..., 3] = 1.0
        image.pixels.foreach_set(pixels.ravel())  # type: ignore[attr-defined]
        image.update()
        image.pack()
        return image, float(lost.sum() / max(1, covered.sum()))

    def _image(self, title: str, name: str) -> Image:
        side = self._settings.texture_px
        image = bpy.data.images.new(title, side, side, alpha=True, is_data=name != "color")
        image.generated_color = _EMPTY[name]
        return image

    def _run(self, image: Image, kind: str, highs: Sequence[Object], padding_px: int, samples: int) -> None:
        self._node.image, self._stage.cycles.samples = image, samples
        try:
            with bpy.context.temp_override(**context_of(self._stage, self._low, highs)):
                bpy.ops.object.bake(
                    type=kind, use_selected_to_active=bool(highs), use_cage=bool(highs), cage_object="",
                    cage_extrusion=self._extrusion, max_ray_distance=self._reach, margin=padding_px,
                    margin_type="EXTEND", target="IMAGE_TEXTURES", save_mode="INTERNAL", use_clear=False,
                    normal_space="TANGENT", normal_r="POS_X", normal_g="POS_Y", normal_b="POS_Z",
                    uv_layer=self._low.data.uv_layers.active.name)  # type: ignore[union-attr]
        except RuntimeError as error:
            raise BadMesh(f"Blender could not bake: {str(error).strip()}") from error


def _overlap(mesh: Mesh, covered: np.ndarray) -> float:
    """covered: (H, W) bool texels."""
    area = uv_area(mesh)
    return max(0.0, 1 - float(covered.mean()) / area) if area > 0 else 0.0


def _pixels(image: Image) -> np.ndarray:
    """(H, W, 4) float32; row 0 is the bottom."""
    width, height = image.size
    flat = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(flat)  # type: ignore[attr-defined]
    return flat.reshape(height, width, 4)
