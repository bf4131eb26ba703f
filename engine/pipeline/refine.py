"""Refine: move a mesh until it looks like its views.

From coarse to fine the mesh is remeshed to shorter edges and drawn into ever larger views; outlines, colours and, where
the views carry them, depth, normals and sparse points say how its vertices should move. The colour of each vertex is
found along the way: where a hollow is still filled, the views disagree about it; as far as the light explains that, or
nothing does, it is no reason to move (refine_light.py). Steps move whole regions (largesteps.py).
Source: the loop is our own, after Nicolet et al. 2021 and Laine et al. 2020 for its parts.
"""
from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

from ...bridge.errors import BadMasks, BadMesh, Cancelled
from ..render import Cells, build_topology
from .largesteps import AdamUniform, LargeSteps
from .progress import Run, Stage
from .refine_clock import Forecast, Watch
from .refine_colours import fine_cells, seen_colours
from .refine_freedom import FREE, Freedom, Leash, seen_part
from .refine_guard import as_coarse_as, is_worse, unexplained
from .refine_light import KNOWN, UNKNOWN, Light, disagreement, fit_light
from .refine_losses import Look, Surface, area_of, bending, normals_of, seen_faces, view_loss
from .refine_points import NearestPlaces, points_loss, surface_points
from .refine_settings import RefineLevel, RefineSettings
from .snapshots import colour_bytes
from .targets import Crop, Targets, UnitFrame, crop_of, make_targets, side_for
from .types import Camera, Mask, Mesh, Snapshot, View, ViewSet

log = logging.getLogger(__name__)

PREVIEW_S = 0.5           # shortest time between two previews
PREVIEW_SHARE = 0.04      # of the loop's time that previews may cost
GOOD_EVERY = 10           # iterations between two states that are kept
FOLLOW_EVERY = 10         # iterations between two looks at which places of the mesh are nearest to the points
LEAST_STEPS = 3           # however short the time is
EASED = 0.6               # of a level, when its tension is over
TRUSTED = 0.03            # colours that light leaves unexplained by more than this say less about the shape
GUARD_PX = 128            # side at which the result is compared with its input: coarse enough for both meshes' colours


@dataclass(frozen=True)
class _Scene:
    """What does not change from level to level. fitted: numbers of the views that the mesh is fitted to, left_out: of
    those that judge its first level (the same where there are too few to leave any out). points: (P, 3) float32, unit
    frame, of the object's surface, or None."""

    views: tuple[View, ...]
    masks: tuple[Mask, ...]
    crops: tuple[Crop, ...]
    fitted: tuple[int, ...]
    left_out: tuple[int, ...]
    frame: UnitFrame
    points: torch.Tensor | None
    device: torch.device

    def targets(self, numbers: tuple[int, ...], side_px: int) -> Targets:
        return make_targets([self.views[each] for each in numbers], [self.masks[each] for each in numbers],
                            [self.crops[each] for each in numbers], self.frame, side_px, self.device)

    @cached_property
    def guards(self) -> tuple[Targets, Targets]:
        """Of the fitted views, which tell the colours, and of those left out, which judge by them."""
        return self.targets(self.fitted, GUARD_PX), self.targets(self.left_out, GUARD_PX)


@dataclass(frozen=True)
class _Sight:
    """What views show at one level. colours: (P, 3) of the cells' samples, where the optimisation begins. settings:
    with the weight that colours deserve here."""

    targets: Targets
    light: Light
    cells: Cells
    colours: torch.Tensor
    trust: float
    settings: RefineSettings

    def brightness(self, positions: torch.Tensor, surface: Surface, chosen: torch.Tensor) -> torch.Tensor:
        """(B, V, 3), factors of colours."""
        facing = normals_of(positions.detach(), surface.faces)
        return self.light.of(chosen).brightness(facing, self.targets.turn[chosen])


class Refinement:
    """A refinement under way. `mesh` is the last good state, in world units, at any time; `colours` are those of its
    vertices, (V, 3) in [0, 1] as the views have them, or None before any were found."""

    def __init__(self, mesh: Mesh, settings: RefineSettings, freedom: Freedom, stage: Stage,
                 preview: Callable[[Mesh], None] | None) -> None:
        self._freedom = freedom
        self._light: Light | None = None
        self.mesh, self._given, self._settings, self._stage, self._preview = mesh, mesh, settings, stage, preview
        self._shown_at, self._cost, self._began = -np.inf, 0.0, time.perf_counter()
        self._colours: torch.Tensor | None = None

    def keep(self, mesh: Mesh, colours: torch.Tensor) -> None:
        """Take a state as good if all of it is finite; show it when it is time. colours: (V, 3) in [0, 1]."""
        if not np.isfinite(mesh.vertices).all():
            return
        self.mesh, self._colours = mesh, colours.detach().clone()
        now = time.perf_counter()
        early, dear = now - self._shown_at < PREVIEW_S, self._cost > PREVIEW_SHARE * (now - self._began)
        if self._preview is None or early or dear:
            return
        self.show()
        self._shown_at = time.perf_counter()
        self._cost += self._shown_at - now

    def show(self) -> None:
        """Show the last good state."""
        if self._preview is None:
            return
        colours = None if self._colours is None else colour_bytes(self._colours.cpu().numpy())
        stage = self._stage
        self._preview(Snapshot(self.mesh.vertices, self.mesh.faces, colours, stage.done, stage.total, stage.loss,
                               stage.seconds_left))

    def judge(self, scene: _Scene, first: bool = False) -> bool:
        """Ask the views that were left out. If they like the mesh less than its input, the input is the mesh again."""
        seen, left_out = scene.guards
        light = self._light or Light.even(len(scene.views), scene.device)
        lights = light.of(scene.fitted), light.of(scene.left_out)
        given = self._given
        if not self._freedom.keep_topology:
            given = as_coarse_as(given, len(self.mesh.faces))
        before, after = (unexplained(each, scene.frame, seen, left_out, *lights) for each in (given, self.mesh))
        log.info("refine: views left out differ by %.4f, before %.4f", after, before)
        if not is_worse(after, before, first):
            return True
        self.mesh, self._colours = self._given, None
        self._stage.warn("Refining did not bring the mesh closer to its views, so it was left as it was. "
                         "Check that the cameras and masks belong to these photos.")
        return False

    def run(self, scene: _Scene) -> bool:
        """All levels, or until the time is used up. False: judged, and given up. Raises Cancelled."""
        watch = Watch(self._settings.seconds, scene.device, LEAST_STEPS)
        forecast = Forecast(self._settings, watch)
        random = np.random.default_rng(self._settings.seed)
        levels, fitted = self._settings.levels, scene.fitted
        leash = Leash(self._freedom, self._given, scene.frame, scene.device)
        for number, level in enumerate(levels):
            if watch.over or self._stage.ends_early():
                break
            if number == 1:
                if not self.judge(scene, first=True):
                    return False
                fitted = tuple(range(len(scene.views)))    # they have judged; now they may say what they know
            mesh, edge = leash.begin(self.mesh, level.faces, number == 0, self._stage)
            forecast.begin(number)
            done = self._level(mesh, edge, leash, level, scene, fitted, random, watch, forecast)
            log.info("refine: level %d, %d faces, %d iterations, loss %.5f", number, len(mesh.faces), done,
                     self._stage.loss or 0.0)
        return True

    def _level(self, mesh: Mesh, edge: float, leash: Leash, level: RefineLevel, scene: _Scene,
               fitted: tuple[int, ...], random: np.random.Generator, watch: Watch, forecast: Forecast) -> int:
        """Optimise positions and colours on one mesh. Returns the iterations done."""
        settings, device = self._settings, scene.device
        surface, degree = _surface(mesh, edge, device)
        steps = LargeSteps(mesh.faces, len(mesh.vertices), level.stiffness * leash.stiffer, device)
        start = leash.start()
        stiff = steps.stiff_from_positions(start).requires_grad_()
        sight = self._look(leash.move(start), surface, level, scene, fitted)
        targets, colours = sight.targets, sight.colours.requires_grad_()
        tension = 0.0 if self._freedom.keep_topology else level.tension
        if tension:
            tight = seen_faces(leash.move(start), surface, targets)
            whole = area_of(leash.move(start), tight)
        mover = AdamUniform(stiff, uniform=1 - (1 - level.uniform) * sight.trust)
        painter = torch.optim.Adam([colours], lr=settings.colour_rate, betas=(0.9, 0.99), fused=True)
        order = _view_order(len(targets.clip), settings.views_per_step, random)
        places = None
        if scene.points is not None:
            places = NearestPlaces(scene.points, leash.move(start), surface.faces)
        smooth, done = 0.0, 0
        while forecast.level_done < 1 and not watch.over and not self._stage.ends_early():
            chosen = torch.from_numpy(next(order)).to(device)
            positions = leash.move(steps.positions_from_stiff(stiff))
            look = Look(colours, sight.cells, sight.brightness(positions, surface, chosen))
            loss = view_loss(positions, look, surface, targets, chosen, sight.settings, scene.frame.radius)
            bend, change = bending(leash.bent(positions), surface, degree)
            fair = level.bending * (settings.fairness * bend + settings.evenness * change)
            if tension and forecast.level_done < EASED:
                eased = (1 - forecast.level_done / EASED)**2
                fair = fair + tension * eased * area_of(positions, tight) / whole
            if places is not None:
                if done and done % FOLLOW_EVERY == 0:
                    places.follow(positions)
                loss = loss + settings.points * points_loss(places.distances(positions))
            (loss + fair).backward()
            rate = level.rate * edge * settings.last_rate**forecast.level_done
            mover.step(rate)
            painter.step()
            painter.zero_grad()
            done += 1
            smooth = 0.9 * smooth + 0.1 * float(loss.detach())
            watch.step()
            forecast.step()
            self._stage.loss, self._stage.seconds_left = smooth / (1 - 0.9**done), forecast.seconds_left
            self._stage.advance()
            if done % GOOD_EVERY == 0:
                self._keep(steps, stiff, leash, colours)
        self._keep(steps, stiff, leash, colours)
        return done

    def _look(self, start: torch.Tensor, surface: Surface, level: RefineLevel, scene: _Scene,
              fitted: tuple[int, ...]) -> _Sight:
        """What the fitted views show on this mesh; finds the light of all views on the way."""
        everyone = scene.targets(tuple(range(len(scene.views))), level.side_px)
        search = UNKNOWN if self._light is None else KNOWN
        known = self._light or Light.even(len(scene.views), scene.device)
        self._light = fit_light(start, surface, everyone, known, search, self._settings.seed)
        targets, light = everyone.of(fitted), self._light.of(fitted)
        brightness = light.brightness(normals_of(start, surface.faces), targets.turn)
        cells = fine_cells(start, surface, targets.rgba.shape[1])
        colours = seen_colours(start, surface, targets, brightness, cells)
        away = disagreement(start, surface, colours[:len(start)], light, targets)
        trust = min(1.0, (TRUSTED / max(away, TRUSTED))**2)
        log.info("refine: colours disagree by %.4f, trusted by %.3f", away, trust)
        settings = dataclasses.replace(self._settings, colour=self._settings.colour * trust)
        return _Sight(targets, light, cells, colours, trust, settings)

    def _keep(self, steps: LargeSteps, stiff: torch.Tensor, leash: Leash, colours: torch.Tensor) -> None:
        """colours: (P, 3), those of the vertices first."""
        positions = leash.move(steps.positions_from_stiff(stiff.detach()))
        self.keep(leash.to_world(positions.cpu().numpy()), leash.in_order(colours[:len(positions)]))


def refine_mesh(mesh: Mesh, views: ViewSet, masks: Sequence[Mask], settings: RefineSettings, device: torch.device,
                stage: Stage, preview: Callable[[Mesh], None] | None = None, freedom: Freedom = FREE) -> Mesh:
    """Fit `mesh` to its views. Parts that are separate stay.

    mesh: world; closed or open. In free mode it gets new faces; where parts of it share an edge or a vertex they are
    parted. With freedom.keep_topology any mesh will do, and it keeps its faces and the order of its vertices.
    freedom: what may move. Vertices of weight 0 move by exactly 0.
    views, masks: as for the hull; views whose mask has confidence 0 say nothing. Sparse points that came with them are
    drawn to the surface, as far as they lie in the outlines.
    preview: called with the current state, a Snapshot with colours, at most twice a second, and at the end. Progress
    counts iterations, with the loss and the time left. Ends early with the current state when the person finds it good
    enough (Stage.ends_early).
    On the CPU the same input and seed give the same mesh, as long as the iterations end before the time does.
    Raises BadMesh, Cancelled (the last good state has then been given to `preview`).
    """
    if not len(mesh.faces) or not np.isfinite(mesh.vertices).all():
        raise BadMesh("The mesh to refine is empty or has positions that are not numbers.",
                      "Give a mesh with a surface.")
    scene = _scene(seen_part(mesh), views, masks, settings, device)
    settings = _as_large_as_seen(settings, scene.crops)
    stage.total = stage.done + sum(level.iterations for level in settings.levels)
    warm_up(device)
    state = Refinement(mesh, settings, freedom, stage, preview)
    try:
        # a mesh that the person has seen and found good enough needs no other judge
        if state.run(scene) and not stage.ended_early:
            state.judge(scene)
    except Cancelled:
        state.show()
        raise
    finally:
        stage.seconds_left = None
    state.show()
    return state.mesh


def _as_large_as_seen(settings: RefineSettings, crops: Sequence[Crop]) -> RefineSettings:
    """No level is larger than the largest view of the object: the time to come is told by the levels."""
    return dataclasses.replace(settings, levels=tuple(
        dataclasses.replace(level, side_px=side_for(crops, level.side_px)) for level in settings.levels))


@cache
def warm_up(device: torch.device) -> None:
    """Refine a speck, once a process. What compiles at its first use does so here: on a computer that refines for the
    first time that takes longer than all the time of a draft, and the mesh would come back as it was."""
    corners = np.concatenate([np.eye(3), -np.eye(3)]) + [0, 0, 4]
    faces = [[a, b, c] if (a + b + c) % 2 else [a, c, b] for a in (0, 3) for b in (1, 4) for c in (2, 5)]
    speck = Mesh(corners.astype(np.float32), np.array(faces, np.int32))
    view = View("speck", Camera(16, 16, 16.0, 16.0, 8.0, 8.0, np.eye(4)), np.full((16, 16, 3), 128, np.uint8))
    cover = np.zeros((16, 16), np.float32)
    cover[5:11, 5:11] = 1
    settings = RefineSettings(levels=(RefineLevel(16, 32, 2),), hold_out=0)
    scene = _scene(speck, ViewSet((view,)), [Mask(cover, "alpha", 1.0)], settings, device)
    scene = dataclasses.replace(scene, points=torch.zeros((1, 3), device=device))
    with Run(("speck",)).stage("speck") as stage:
        Refinement(speck, settings, FREE, stage, None).run(scene)


def _scene(mesh: Mesh, views: ViewSet, masks: Sequence[Mask], settings: RefineSettings,
           device: torch.device) -> _Scene:
    used = [(view, mask) for view, mask in zip(views.views, masks) if mask.confidence > 0]
    if not used:
        raise BadMasks("No view has a mask that can be used.", "Check the masks: the object was found in none.")
    crops = tuple(crop_of(view.camera, mask, mesh) for view, mask in used)
    everyone = tuple(range(len(used)))
    every = settings.hold_out
    left_out = everyone[every - 1::every] if every and len(used) >= 2 * every else everyone
    fitted = everyone if left_out == everyone else tuple(each for each in everyone if each not in left_out)
    frame = UnitFrame.around(mesh)
    points = surface_points(views, masks, mesh, frame, device, settings.seed) if settings.points else None
    return _Scene(tuple(view for view, _ in used), tuple(mask for _, mask in used), crops, fitted, left_out, frame,
                  points, device)


def _surface(mesh: Mesh, edge: float, device: torch.device) -> tuple[Surface, torch.Tensor]:
    faces = torch.from_numpy(np.ascontiguousarray(mesh.faces, np.int32)).to(device)
    pairs = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    edges = torch.from_numpy(np.unique(np.sort(pairs, axis=1), axis=0)).to(device)
    degree = torch.bincount(edges.ravel(), minlength=len(mesh.vertices)).clamp(min=1).to(torch.float32)[:, None]
    return Surface(faces, build_topology(faces), edges, edge), degree


def _view_order(count: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Groups of views without end; every view comes once before any comes twice."""
    size = min(size, count)
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += [int(each) for each in random.permutation(count) if int(each) not in waiting]
        yield np.array(waiting[:size])
        waiting = waiting[size:]
