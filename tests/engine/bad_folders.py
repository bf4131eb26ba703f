"""View folders that cannot be used, one maker each: MAKERS[name](folder) fills an existing empty folder.

Odd but good folders are in ODD. All pictures are tiny; both dictionaries serve the tests of every ring.
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scenes import cameras_around, change_table, look_at, write_view_folder

from slipcast.engine.pipeline.types import Camera

SIZE, FOCAL, VIEWS = 64, 96.0, 8
Maker = Callable[[Path], object]


def good(folder: Path, count: int = VIEWS) -> dict[str, Path]:
    return write_view_folder(folder, cameras_around(count, size=SIZE, focal=FOCAL))


def changed(change: Callable[[dict], object]) -> Maker:
    """A good folder with `change` applied to its parsed transforms.json."""
    return lambda folder: change_table(good(folder), change)


def text(content: bytes | str) -> Maker:
    """A good folder whose transforms.json holds `content`."""
    def make(folder: Path) -> None:
        good(folder)
        (folder / "transforms.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    return make


def frame(**values) -> Maker:
    """A good folder whose third frame has these values."""
    return changed(lambda table: table["frames"][2].update(values))


def matrix(row: int, column: int, value: object) -> Maker:
    def change(table: dict) -> None:
        table["frames"][2]["transform_matrix"][row][column] = value
    return changed(change)


def picture(content: Callable[[Path], object], name: str = "02.png") -> Maker:
    """A good folder with one of its pictures written again by `content`."""
    def make(folder: Path) -> None:
        good(folder)
        content(folder / name)
    return make


def each_picture(save: Callable[[Image.Image, Path], object]) -> Maker:
    """A good folder with every picture saved again, from RGBA."""
    def make(folder: Path) -> None:
        for path in sorted(set(good(folder).values())):
            if path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
                save(image, path)
    return make


def huge_png(path: Path, edge_px: int = 40_000) -> None:
    """A valid PNG of edge x edge black pixels, one bit each: 200 kB on disk, gigabytes when opened up."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer, row = zlib.compressobj(9), bytes(1 + (edge_px + 7) // 8)
    data = b"".join([*(packer.compress(row) for _ in range(edge_px)), packer.flush()])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", edge_px, edge_px, 1, 0, 0, 0, 0))
                     + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def masks_all(value: int) -> Maker:
    """A good folder without alpha, with mask files that are all `value`."""
    def make(folder: Path) -> None:
        files = good(folder)

        def name_masks(table: dict) -> None:
            for number, row in enumerate(table["frames"]):
                row["mask_path"] = f"mask_{number}.png"
        change_table(files, name_masks)
        for number in range(VIEWS):
            Image.new("L", (SIZE, SIZE), value).save(folder / f"mask_{number}.png")
            Image.effect_noise((SIZE, SIZE), 40).convert("RGB").save(folder / f"{number:02d}.png")
    return make


def look_apart(folder: Path) -> None:
    """Cameras on a circle that all look outwards, away from each other."""
    places = [np.array([np.cos(turn), np.sin(turn), 0.0]) for turn in np.arange(VIEWS) * 2 * np.pi / VIEWS]
    cameras = [Camera(SIZE, SIZE, FOCAL * 2, FOCAL * 2, SIZE / 2, SIZE / 2, look_at(20 * way, 40 * way))
               for way in places]
    files = good(folder)

    def change(table: dict) -> None:
        table["fl_x"] = table["fl_y"] = FOCAL * 2
        for row, camera in zip(table["frames"], cameras):
            row["transform_matrix"] = (camera.world_from_camera @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()
    change_table(files, change)


def mixed_up(folder: Path) -> None:
    """Pictures whose object does not lie where the cameras of the other pictures see it."""
    cameras = cameras_around(VIEWS, size=SIZE, focal=FOCAL)
    write_view_folder(folder, cameras, radius=0.1)
    for number in range(VIEWS):
        alpha = np.zeros((SIZE, SIZE), np.uint8)
        row, column = divmod(number, 3)
        alpha[row * 24:row * 24 + 6, column * 24:column * 24 + 6] = 255
        Image.fromarray(np.dstack([np.full((SIZE, SIZE, 3), 90, np.uint8), alpha])).save(folder / f"{number:02d}.png")


def write_colmap(folder: Path) -> None:
    """The good folder as a COLMAP text model."""
    cameras = cameras_around(VIEWS, size=SIZE, focal=FOCAL)
    good(folder)
    (folder / "transforms.json").unlink()
    model, images = folder / "sparse" / "0", folder / "images"
    model.mkdir(parents=True)
    images.mkdir()
    lines = []
    for number, camera in enumerate(cameras):
        name = f"{number:02d}.png"
        (folder / name).rename(images / name)
        pose = camera.camera_from_world
        w, x, y, z = _quaternion(pose[:3, :3])
        tx, ty, tz = pose[:3, 3]
        lines.append(f"{number + 1} {w} {x} {y} {z} {tx} {ty} {tz} 1 {name}\n\n")
    (model / "images.txt").write_text("".join(lines))
    (model / "cameras.txt").write_text(f"1 PINHOLE {SIZE} {SIZE} {FOCAL} {FOCAL} {SIZE / 2} {SIZE / 2}\n")


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """w, x, y, z: the eigenvector of Bar-Itzhack's symmetric matrix with the largest eigenvalue."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    table = np.array([[a - e - i, b + d, c + g, h - f], [b + d, e - a - i, f + h, c - g],
                      [c + g, f + h, i - a - e, d - b], [h - f, c - g, d - b, a + e + i]]) / 3
    x, y, z, w = np.linalg.eigh(table)[1][:, -1]
    return np.array([w, x, y, z])


def colmap(name: str, change: Callable[[bytes], bytes]) -> Maker:
    def make(folder: Path) -> None:
        write_colmap(folder)
        path = folder / "sparse" / "0" / name
        path.write_bytes(change(path.read_bytes()))
    return make


def truncated_colmap_binary(folder: Path) -> None:
    write_colmap(folder)
    model = folder / "sparse" / "0"
    for path in model.iterdir():
        path.unlink()
    (model / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 1, SIZE, SIZE, FOCAL, FOCAL, 32, 32))
    (model / "images.bin").write_bytes(struct.pack("<QI7dI", 8, 1, 1, 0, 0, 0, 0, 0, 4, 1) + b"00.png\0")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


MAKERS: dict[str, Maker] = {
    "empty folder": lambda folder: None,
    "pictures without cameras": lambda folder: (good(folder), (folder / "transforms.json").unlink()),
    "one view": changed(lambda table: table.update(frames=table["frames"][:1])),
    "no overlap of cameras": look_apart,
    "cameras all in one place": changed(lambda table: [row.update(transform_matrix=np.eye(4).tolist())
                                                       for row in table["frames"]]),
    "pictures of another set": mixed_up,
    "truncated image": picture(cut),
    "image of no bytes": picture(lambda path: path.write_bytes(b"")),
    "text named .png": picture(lambda path: path.write_text("not a picture")),
    "folder named like an image": picture(lambda path: (path.unlink(), path.mkdir())),
    "40000x40000 PNG": picture(huge_png),
    "missing image": picture(Path.unlink),
    "missing mask": frame(mask_path="mask_of_02.png"),
    "missing point cloud": changed(lambda table: table.update(ply_file_path="points.ply")),
    "point cloud that is none": changed(lambda table: table.update(ply_file_path="00.png")),
    "NaN matrix": matrix(1, 2, float("nan")),
    "infinite matrix": matrix(0, 3, float("inf")),
    "matrix of words": matrix(0, 0, "left"),
    "matrix with 400 digits": matrix(0, 3, 10**400),
    "matrix with 1e200": matrix(0, 3, 1e200),
    "stretched matrix": matrix(0, 0, 5.0),
    "matrix of zeros": frame(transform_matrix=np.zeros((4, 4)).tolist()),
    "3x3 matrix": frame(transform_matrix=np.eye(3).tolist()),
    "no matrix": changed(lambda table: table["frames"][2].pop("transform_matrix")),
    "matrix null": frame(transform_matrix=None),
    "masks all black": masks_all(0),
    "masks all white": masks_all(255),
    "not JSON": text("{frames: ["),
    "JSON list": text("[1, 2]"),
    "not UTF-8": text('{"frames": "\u00e4"}'.encode("utf-16")),
    "JSON nested too deep": text("[" * 100_000),
    "frames empty": changed(lambda table: table.update(frames=[])),
    "frames null": changed(lambda table: table.update(frames=None)),
    "frame is a number": changed(lambda table: table["frames"].append(7)),
    "file_path missing": changed(lambda table: table["frames"][2].pop("file_path")),
    "file_path is the root": frame(file_path="/"),
    "file_path of 5000 letters": frame(file_path="x" * 5000 + ".png"),
    "file_path with half a letter": frame(file_path="\ud800.png"),
    "no focal length": changed(lambda table: [table.pop(key) for key in ("fl_x", "fl_y")]),
    "focal length of 400 digits": changed(lambda table: table.update(fl_x=10**400)),
    "focal length 1e300": changed(lambda table: table.update(fl_x=1e300, fl_y=1e300)),
    "focal length negative": changed(lambda table: table.update(fl_x=-5.0)),
    "focal length of words": changed(lambda table: table.update(fl_x="wide")),
    "size zero": changed(lambda table: table.update(w=0)),
    "sizes swapped": changed(lambda table: table.update(w=64, h=200)),
    "unknown lens": changed(lambda table: table.update(camera_model="EQUIRECTANGULAR")),
    "distortion of 400 digits": changed(lambda table: table.update(k1=10**400)),
    "volume upside down": changed(lambda table: table.update(slipcast_volume=[[1, 1, 1], [0, 0, 0]])),
    "volume of 400 digits": changed(lambda table: table.update(slipcast_volume=[[0, 0, 0], [1, 1, 10**400]])),
    "volume beside the object": changed(lambda table: table.update(slipcast_volume=[[50, 50, 50], [51, 51, 51]])),
    "COLMAP text cut": colmap("images.txt", lambda data: data[:60]),
    "COLMAP camera cut": colmap("cameras.txt", lambda data: data[:22]),
    "COLMAP binary cut": truncated_colmap_binary,
    "COLMAP not UTF-8": colmap("images.txt", lambda data: b"\xff\xfe" + data),
    "COLMAP without images": colmap("images.txt", lambda data: b"# nothing\n"),
}


def animated(image: Image.Image, path: Path) -> None:
    image.save(path, "WEBP", save_all=True, append_images=[Image.new("RGBA", image.size)], lossless=True)


def turned(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, "PNG", exif=exif)


def on_grey(image: Image.Image) -> Image.Image:
    """RGB: the object on a plain background, without alpha."""
    ground = Image.new("RGBA", image.size, (20, 24, 30, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def half_size(folder: Path) -> None:
    each_picture(lambda image, path: image.resize((32, 32)).save(path) if path.stem in "0204" else None)(folder)


def named(name: str) -> Maker:
    def make(folder: Path) -> None:
        files = good(folder)
        change_table(files, lambda table: table["frames"][2].update(file_path=name))
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        files["02.png"].rename(target)
    return make


ODD: dict[str, Maker] = {
    "good": good,
    "two views": lambda folder: good(folder, 2),
    "3x4 matrices": changed(lambda table: [row.update(transform_matrix=row["transform_matrix"][:3])
                                           for row in table["frames"]]),
    "JSON with a byte order mark": lambda folder: (good(folder), (folder / "transforms.json").write_bytes(
        b"\xef\xbb\xbf" + (folder / "transforms.json").read_bytes())),
    "names with umlaut, blank and emoji": named("b\u00fcste \U0001f5ff/vorne links.png"),
    "grey": each_picture(lambda image, path: on_grey(image).convert("L").save(path)),
    "16 bit grey": each_picture(lambda image, path: Image.fromarray(
        np.asarray(on_grey(image).convert("L")).astype(np.uint16) * 257).save(path)),
    "palette": each_picture(lambda image, path: on_grey(image).convert("P").save(path)),
    "CMYK JPEG": each_picture(lambda image, path: on_grey(image).convert("CMYK").save(path, "JPEG", quality=95)),
    "animated WebP": each_picture(animated),
    "EXIF rotated": each_picture(turned),
    "grey with alpha": each_picture(lambda image, path: image.convert("LA").save(path)),
    "two of half the size": half_size,
    "frames twice": changed(lambda table: table.update(frames=table["frames"] * 2)),
    "COLMAP": write_colmap,
}
