"""Tell the object of one picture from its background: by mask, alpha, a network, or the colours of the background."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...bridge.errors import BadImage, BadMasks, OutOfMemory, WeightsError
from ..models.matting import CUTTERS
from ..models.weights import WeightStore
from .cutout import cut_out
from .images import OPAQUE, shrink
from .matting import LOW_CONFIDENCE, MAX_COVER, MIN_COVER
from .picture import read_mask, read_picture
from .progress import Stage
from .types import Camera, View

IMAGE_LABEL, MASK_LABEL = "image", "mask"
WORKING_PX = 2048       # a picture is brought down to it, on its longer side
DEFAULT_CUTTER = "u2net"
NETWORK = "rembg:"      # begins a choice of background that names a network
_CUTOUT_PX = 640
_NETWORK_TRUST = 0.85   # less than what a person gave: nobody has looked at it


@dataclass(frozen=True)
class Picture:
    """pixels: (H, W, 3 or 4) uint8, sRGB, straight alpha, at the working size. mask: (H, W) uint8 or None, as given.

    width, height: of the picture as it was given, upright.
    """

    pixels: np.ndarray
    mask: np.ndarray | None
    width: int
    height: int


@dataclass(frozen=True)
class Foreground:
    """image: (H, W, 4) uint8, sRGB, straight alpha = the object. source: "mask", "alpha", "rembg:<name>", "key" (told
    from a smooth backdrop) or "centre" (by its place). confidence: as of types.Mask."""

    image: np.ndarray
    source: str
    confidence: float


def load_picture(files: Mapping[str, Path], stage: Stage) -> Picture:
    """Read "image" and, if it is among `files`, "mask". Raises BadImage, ImageTooLarge, BadMasks."""
    if IMAGE_LABEL not in files:
        raise BadImage("There is no picture among the files.", f"Give one as {IMAGE_LABEL!r}.")
    pixels = read_picture(files[IMAGE_LABEL], "The picture", stage)
    height, width = pixels.shape[:2]
    scale = min(1.0, WORKING_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if pixels.shape[2] == 4 else None
    image, alpha = shrink(np.ascontiguousarray(pixels[:, :, :3]), alpha, *size)
    mask = read_mask(files[MASK_LABEL], (width, height), size) if MASK_LABEL in files else None
    return Picture(image if alpha is None else np.dstack([image, alpha]), mask, width, height)


def find_foreground(picture: Picture, background: str, store: WeightStore, stage: Stage) -> Foreground:
    """The object cut out. A given mask is used as it is, else what `background` says.

    background: "auto" (alpha that cuts something out, else U2-Net where its weights and onnxruntime are there, else
    colours), "alpha", "classic" (colours) or "rembg:<name>" (that network or an error).
    Warns where the result is not to be trusted, and where "auto" goes on without a network that does not work here.
    Raises BadMasks (no object, or nothing but object), WeightsMissing, BadWeights, OutOfMemory, BadSettings (no
    onnxruntime).
    Source of the order: measurements on composited objects in this project's data notes.
    """
    colors = np.ascontiguousarray(picture.pixels[:, :, :3])
    alpha = picture.pixels[:, :, 3] if picture.pixels.shape[2] == 4 else None
    if picture.mask is not None:
        return _checked(colors, picture.mask, "mask", 1.0, stage)
    if background == "alpha" and alpha is None:
        raise BadMasks("The picture has no alpha channel.",
                       "Give a mask, or choose another way to find the background.")
    if alpha is not None and (background == "alpha" or background == "auto" and _cuts_out(alpha)):
        return _checked(colors, alpha, "alpha", 1.0, stage)
    if background.startswith(NETWORK):
        name = background.removeprefix(NETWORK)
        return _checked(colors, _by_network(name, colors, store), background, _NETWORK_TRUST, stage)
    if background == "auto" and _is_ready(DEFAULT_CUTTER, store):
        try:
            return _checked(colors, _by_network(DEFAULT_CUTTER, colors, store), NETWORK + DEFAULT_CUTTER,
                            _NETWORK_TRUST, stage)
        except (WeightsError, OutOfMemory) as error:
            stage.warn(f"{error.message} The background was told by its colours instead. {error.hint}")
    found = cut_out(_as_view(colors), None, _CUTOUT_PX)
    return _checked(colors, _bytes(found.values), found.source, found.confidence, stage)


def _cuts_out(alpha: np.ndarray) -> bool:
    """Whether it leaves out more than, say, the rounded corners of a window."""
    return bool(alpha.min() < OPAQUE) and _cover(alpha) < MAX_COVER


def _by_network(name: str, colors: np.ndarray, store: WeightStore) -> np.ndarray:
    from ..models.matting.cutter import cut_with

    cutter = CUTTERS[name]
    path = store.files(cutter.spec)[cutter.spec.files[0].name]
    return _bytes(cut_with(cutter, path, colors))


def _is_ready(name: str, store: WeightStore) -> bool:
    from ..models.matting.cutter import has_runtime

    return has_runtime() and all(found.state in ("ready", "damaged") for found in store.states(CUTTERS[name].spec))


def _bytes(values: np.ndarray) -> np.ndarray:
    return (values * 255 + 0.5).clip(0, 255).astype(np.uint8)


def _as_view(colors: np.ndarray) -> View:
    """What the cut-out by colours wants: its camera is not looked at where there are no points."""
    height, width = colors.shape[:2]
    return View("", Camera(width, height, 1.0, 1.0, 0.0, 0.0, np.eye(4)), colors)


def _checked(colors: np.ndarray, alpha: np.ndarray, source: str, confidence: float, stage: Stage) -> Foreground:
    cover = _cover(alpha)
    if cover <= MIN_COVER:
        raise _nothing(alpha, source)
    if cover >= MAX_COVER:
        raise _everything(source)
    if confidence < LOW_CONFIDENCE:
        stage.warn("The object was found by its place in the picture only, which often fails: look at the mask. Give a "
                   "mask, a picture with alpha or a plain background, or fetch a network that cuts out "
                   f"(`models fetch {DEFAULT_CUTTER}`).")
    return Foreground(np.dstack([colors, alpha]), source, confidence)


def _cover(alpha: np.ndarray) -> float:
    return float((alpha > 127).mean())


def _everything(source: str) -> BadMasks:
    if source == "alpha":
        return BadMasks("The picture is opaque nearly everywhere: its alpha channel cuts nothing out.",
                        "Save it again with its background transparent, give a mask, or choose another way to find "
                        "the background.")
    if source == "mask":
        return BadMasks("The mask covers the whole picture, so there is no outline to go by.",
                        "Paint it white on the object and black elsewhere.")
    return BadMasks("All of this picture was taken for the object, so there is no outline to go by.",
                    "Give a mask, a picture with alpha, or one with a plain background.")


def _nothing(alpha: np.ndarray, source: str) -> BadMasks:
    if source == "alpha":
        what = "is fully transparent" if not alpha.any() else "is nearly all transparent"
        return BadMasks(f"The picture {what}: its alpha channel leaves no object.",
                        "Save it again with its object opaque, or give a mask.")
    if source == "mask":
        return BadMasks("The mask is black: it says that there is no object.", "Paint it white on the object.")
    return BadMasks("No object could be told from the background of this picture.",
                    "Give a mask, a picture with alpha, or one with a plain background.")
