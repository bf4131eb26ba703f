"""Make examples/skull from the photo set and its COLMAP model. Needed only to make the example again.

    python examples/make_skull.py PHOTOS MODEL [--out examples/skull] [--count 32] [--width 1200]

PHOTOS: the folder with 01.jpg ... 66.jpg; MODEL: a COLMAP folder with cameras.bin, images.bin and points3D.bin.
The model's world has no up, front or size, so they are found: up is what the photos' sides are level to, the front is
where the skull is symmetric around (near the photo that faces it), and the longest side becomes 0.2 units.
"""
from __future__ import annotations

import argparse
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from slipcast.engine.pipeline.colmap import ColmapImage, read_colmap

FRONT_PHOTO = "17.jpg"      # looks the skull in the face
LONGEST_SIDE = 0.2          # units; a head in metres
POINT_COUNT = 6000
GL_FROM_CV = np.diag([1.0, -1.0, -1.0])   # camera axes: y down, z forward -> y up, z backward


@dataclass(frozen=True)
class Placement:
    """new = scale * rotation @ (old - origin); rotation (3, 3), origin (3,)."""

    scale: float
    rotation: np.ndarray
    origin: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        """points: (N, 3), old world. Returns them in the new one."""
        return self.scale * (points - self.origin) @ self.rotation.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "skull")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--width", type=int, default=1200)
    arguments = parser.parse_args()

    files = {path.name: path for path in arguments.model.glob("*.bin")}
    model = read_colmap(files)
    poses = {image.name: world_from_camera(image) for image in model.images}
    points, colors = clean_points(files["points3D.bin"])
    placement = find_placement(points, poses)
    placed = placement.place(points)
    volume, base = working_volume(placed)
    placement = Placement(placement.scale, placement.rotation,
                          placement.origin + placement.rotation.T @ base / placement.scale)
    placed, volume = placed - base, volume - base

    (arguments.out / "images").mkdir(parents=True, exist_ok=True)
    for old in (arguments.out / "images").glob("*.jpg"):
        old.unlink()
    rays = {name: placement.place(pose[None, :, 3])[0] - volume.mean(axis=0) for name, pose in poses.items()}
    names = spread_views(rays, arguments.count)
    camera = next(iter(model.cameras.values()))
    size = resize_photos(arguments.photos, arguments.out / "images", names, arguments.width)
    (arguments.out / "transforms.json").write_text(
        transforms_text(camera.parameters, (camera.width, camera.height), size,
                        {name: placed_pose(placement, poses[name]) for name in names}, volume), encoding="utf-8")
    write_ply(arguments.out / "points.ply", placed, colors)
    total = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{len(names)} photos of {size[0]} x {size[1]}, {len(placed)} points, {total / 1e6:.2f} MB: {arguments.out}")
    print(f"volume {np.round(volume, 4).tolist()}")


def world_from_camera(image: ColmapImage) -> np.ndarray:
    """(3, 4): OpenCV camera axes -> the model's world."""
    w, x, y, z = image.quaternion
    camera_from_world = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    return np.column_stack([camera_from_world.T, -camera_from_world.T @ image.translation])


def clean_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) float64 and colours (N, 3) uint8: seen by 3 photos or more, off by less than 1 px, none astray."""
    data = path.read_bytes()
    at, rows = 8, []
    for _ in range(struct.unpack_from("<Q", data)[0]):
        *row, track = struct.unpack_from("<Q3d3BdQ", data, at)
        at += 51 + 8 * track
        rows.append((*row[1:8], track))
    table = np.array(rows)
    table = table[(table[:, 6] < 1.0) & (table[:, 7] >= 3)]
    spacing = cKDTree(table[:, :3]).query(table[:, :3], k=9)[0][:, 1:].mean(axis=1)
    table = table[spacing < 4 * np.median(spacing)]
    chosen = np.sort(np.random.default_rng(0).permutation(len(table))[:POINT_COUNT])
    return table[chosen, :3], table[chosen, 3:6].astype(np.uint8)


def find_placement(points: np.ndarray, poses: dict[str, np.ndarray]) -> Placement:
    """Upright, facing -Y, LONGEST_SIDE long; the origin is the points' median for now."""
    sides = np.array([pose[:, 0] for pose in poses.values()])
    up = np.linalg.eigh(sides.T @ sides)[1][:, 0]
    up = -up if sum(pose[:, 1] @ up for pose in poses.values()) > 0 else up
    origin = np.median(points, axis=0)
    back = origin - poses[FRONT_PHOTO][:, 3]
    back -= up * (up @ back)
    back /= np.linalg.norm(back)
    rotation = np.stack([np.cross(back, up), back, up])
    turns = np.radians(np.arange(-15, 15.5, 0.5))
    local = (points - origin) @ rotation.T
    best = min(turns, key=lambda turn: asymmetry(local @ turn_z(turn).T))
    rotation = turn_z(best) @ rotation
    extent = np.ptp((points - origin) @ rotation.T, axis=0).max()
    print(f"turned {np.degrees(best):.1f} degrees from where {FRONT_PHOTO} looks")
    return Placement(LONGEST_SIDE / extent, rotation, origin)


def turn_z(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def asymmetry(points: np.ndarray) -> float:
    """Mean distance of the points mirrored in x to the points, at the best of a few mirror planes."""
    tree = cKDTree(points)
    middle = (np.percentile(points[:, 0], 1) + np.percentile(points[:, 0], 99)) / 2
    width = np.ptp(points[:, 0])
    mirrored = [np.column_stack([2 * (middle + shift * width) - points[:, 0], points[:, 1:]])
                for shift in (-0.02, -0.01, 0, 0.01, 0.02)]
    return min(float(np.minimum(tree.query(each)[0], 0.05 * width).mean()) for each in mirrored)


def working_volume(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box around the skull without the stand, (2, 3), and the middle of its floor, (3,).

    The stand is in the middle, the teeth are in front: the floor is just below the lowest points of the front quarter.
    """
    low, high = np.percentile(points, 0.2, axis=0), np.percentile(points, 99.8, axis=0)
    front = points[points[:, 1] < low[1] + 0.25 * (high[1] - low[1])]
    margin = 0.04 * LONGEST_SIDE
    floor = np.percentile(front[:, 2], 0.5) - 0.01 * LONGEST_SIDE
    volume = np.array([[*(low[:2] - margin), floor], high + margin])
    return volume, np.array([*volume[:, :2].mean(axis=0), floor])


def spread_views(rays: dict[str, np.ndarray], count: int) -> list[str]:
    """The front photo, then again and again the photo whose direction is farthest from all chosen ones; sorted.

    rays: from the middle of the object to each camera, any length.
    """
    names = sorted(rays)
    directions = np.array([rays[name] / np.linalg.norm(rays[name]) for name in names])
    chosen = [names.index(FRONT_PHOTO)]
    while len(chosen) < min(count, len(names)):
        apart = np.linalg.norm(directions[:, None] - directions[None, chosen], axis=2).min(axis=1)
        chosen.append(int(apart.argmax()))
    return sorted(names[index] for index in chosen)


def resize_photos(source: Path, target: Path, names: list[str], width: int) -> tuple[int, int]:
    size = (0, 0)
    for name in names:
        with Image.open(source / name) as photo:
            size = (width, round(photo.height * width / photo.width))
            photo.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(target / name, quality=90, optimize=True)
    return size


def placed_pose(placement: Placement, pose: np.ndarray) -> np.ndarray:
    """(4, 4): OpenGL camera axes -> the new world."""
    placed = np.eye(4)
    placed[:3, :3] = placement.rotation @ pose[:, :3] @ GL_FROM_CV
    placed[:3, 3] = placement.place(pose[None, :, 3])[0]
    return placed


def transforms_text(parameters: tuple[float, ...], full: tuple[int, int], size: tuple[int, int],
                    poses: dict[str, np.ndarray], volume: np.ndarray) -> str:
    """transforms.json in nerfstudio's spelling. parameters: COLMAP's SIMPLE_RADIAL (f, cx, cy, k1) at size `full`."""
    focal, cx, cy, k1 = parameters
    scale_x, scale_y = size[0] / full[0], size[1] / full[1]
    frames = [{"file_path": f"images/{name}", "transform_matrix": np.round(pose, 8).tolist()}
              for name, pose in poses.items()]
    head = {"camera_model": "OPENCV", "w": size[0], "h": size[1],
            "fl_x": round(focal * scale_x, 4), "fl_y": round(focal * scale_y, 4),
            "cx": round(cx * scale_x, 4), "cy": round(cy * scale_y, 4),
            "k1": round(k1, 8), "k2": 0.0, "p1": 0.0, "p2": 0.0,
            "ply_file_path": "points.ply", "slipcast_volume": np.round(volume, 5).tolist()}
    lines = ",\n    ".join(json.dumps(frame) for frame in frames)
    return json.dumps(head, indent=2)[:-2] + f',\n  "frames": [\n    {lines}\n  ]\n}}\n'


def write_ply(path: Path, points: np.ndarray, colors: np.ndarray) -> None:
    rows = np.zeros(len(points), dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = points, colors
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}",
             *(f"property float {axis}" for axis in "xyz"),
             *(f"property uchar {channel}" for channel in ("red", "green", "blue")), "end_header", ""]
    header = "\n".join(lines)
    path.write_bytes(header.encode("ascii") + rows.tobytes())


if __name__ == "__main__":
    main()
