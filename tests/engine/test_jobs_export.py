"""A stored result goes to files and to a contact sheet without an engine."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skin import relief_of, textured_box

from slipcast.bridge.messages import Artefact, Submit
from slipcast.engine.__main__ import main
from slipcast.engine.pipeline.png import png_bytes
from slipcast.engine.runners import _thumbnails
from slipcast.engine.server.blobs import BlobStore
from slipcast.engine.server.jobs import JobTable
from slipcast.engine.worker import Output

JOB = "ab" * 16


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with one finished job, as an engine leaves it."""
    box, folder = textured_box(), tmp_path / "data"
    folder.mkdir()
    arrays = {"vertices": (box.mesh.vertices, "<f4"), "faces": (box.mesh.faces, "<i4"),
              "corner_uvs": (box.corner_uvs, "<f4")}
    outputs = [Output(name, "array", array.astype(kind).tobytes(), kind[1:], array.shape)
               for name, (array, kind) in arrays.items()]
    outputs.append(Output("base_color", "image/png", png_bytes(box.base_color)))
    outputs.append(Output("normal_map", "image/png", png_bytes(relief_of(box))))
    outputs += _thumbnails(outputs, {}, "cpu")
    store, made = BlobStore(folder, 10**9, 0), []
    for output in outputs:
        content = bytes(output.data)
        sha256 = hashlib.sha256(content).hexdigest()
        incoming = store.receive(sha256, len(content))
        incoming.write(0, content)
        incoming.finish()
        made.append(Artefact(output.name, output.media_type, len(content), sha256, output.dtype, output.shape))
    table = JobTable(folder / "jobs.sqlite")
    table.add(Submit(JOB, "views", {"seed": 3}, (), "box"))
    table.begin(JOB)
    table.finish(JOB, 1, tuple(made), {"faces": 12, "licence": "MIT"})
    table.close()
    return folder


def test_every_format_and_the_turntable_are_written_from_the_store(data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    wanted = [part for suffix in ("glb", "obj", "stl", "ply", "npz", "mp4")
              for part in ("-o", str(out / f"box.{suffix}"))]
    assert main(["jobs", "export", "abab", "--data", str(data), *wanted, "--turntable", str(out / "turn")]) == 0
    names = sorted(path.name for path in out.iterdir())
    files = [f"box.{suffix}" for suffix in ("glb", "mp4", "mtl", "npz", "obj", "ply", "png", "stl")]
    assert names == [*files, "box_normal.png", "turn"]
    assert len(list((out / "turn").glob("turntable_*.png"))) == 30 and (out / "turn" / "turntable.mp4").exists()
    with np.load(out / "box.npz") as exact:
        np.testing.assert_array_equal(exact["vertices"], textured_box().mesh.vertices)
        np.testing.assert_array_equal(exact["base_color"], textured_box().base_color)
        np.testing.assert_array_equal(exact["normal_map"], relief_of(textured_box()))
    with Image.open(out / "turn" / "turntable_000.png") as picture:
        assert picture.size == (512, 512)


def test_without_a_name_all_goes_into_the_jobs_own_folder(data, capsys):
    assert main(["jobs", "export", "last", "--data", str(data)]) == 0
    names = {path.name for path in (data / "results" / f"box {JOB[:8]}").iterdir()}
    assert names == {*(f"box.{suffix}" for suffix in ("glb", "obj", "mtl", "png", "stl", "ply")), "box_normal.png",
                     "turntable.mp4", *(f"turntable_{index:03}.png" for index in range(30))}
    assert "turntable.mp4" in capsys.readouterr().out


def test_the_sheet_shows_the_thumbnail_licence_and_seed(data, tmp_path):
    assert main(["jobs", "sheet", "--data", str(data), "-o", str(tmp_path / "sheet.html")]) == 0
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1 and "<h2>box</h2>" in page and "MIT" in page and "seed 3" in page
    assert main(["jobs", "sheet", "--data", str(data), "-o", str(tmp_path / "sheet.txt")]) == 2
