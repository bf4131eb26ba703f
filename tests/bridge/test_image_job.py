"""Method "image" over the bridge: a real engine, the real pipeline, no weights."""
from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from test_readme_client import wait_for_connection_file

from slipcast.bridge.client import Client
from slipcast.bridge.errors import BadMasks, WeightsMissing

SMALL = {"face_budget": 1000, "texture_px": 512, "resolution": 64}


def drawn(path: Path, mode: str = "RGBA") -> Path:
    picture = Image.new(mode, (120, 90))
    ImageDraw.Draw(picture).ellipse((20, 10, 90, 80), fill=(200, 80, 20, 255) if mode == "RGBA" else 255)
    picture.save(path)
    return path


@pytest.mark.slow
def test_a_picture_sent_to_an_engine_comes_back_as_a_mesh_with_mask_and_camera(tmp_path: Path):
    home = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA")}
    engine = subprocess.Popen([sys.executable, "-m", "slipcast.engine", "serve", "--stop-with-stdin"], cwd=tmp_path,
                              env=os.environ | home, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        wait_for_connection_file(tmp_path, engine)
        with Client.from_file(next(tmp_path.rglob("engine.json"))) as client:
            welcome = client.connect(30)
            assert "image" in welcome.methods
            inputs = {"image": drawn(tmp_path / "a.png"), "mask": drawn(tmp_path / "m.png", "L")}
            first = client.wait(client.submit("image", SMALL, inputs, label="a.png"))
            assert {"vertices", "faces", "corner_uvs", "base_color", "cameras", "mask", "cutout", "thumbnail",
                    "input_thumbnail"} == set(first.data)
            assert Image.open(io.BytesIO(first.data["mask"])).size == (120, 90)
            assert first.info.summary["mask_source"] == "mask" and first.info.summary["model"] == "silhouette"
            assert "models fetch triposr" in first.info.summary["warnings"][0]
            assert (first.info.label, first.info.licence) == ("a.png", "")
            again = client.wait(client.rerun(first.info.job, {"resolution": 96, "turntable": True}))
            assert again.info.summary["vertices"] > 100 and again.info.summary["stages"][-1][0] == "turntable"
            turn = {"turntable_mp4", *(f"turntable_{index:03}" for index in range(30))}
            assert set(again.data) - set(first.data) == turn
            assert Image.open(io.BytesIO(again.data["turntable_000"])).size == (512, 512)
            assert bytes(again.data["turntable_mp4"][4:8]) == b"ftyp"
            with pytest.raises(WeightsMissing, match="models fetch triposr"):
                client.wait(client.submit("image", SMALL | {"model": "triposr"}, inputs))
            black = tmp_path / "black.png"
            Image.new("L", (120, 90)).save(black)
            with pytest.raises(BadMasks, match="black"):
                client.wait(client.submit("image", SMALL, inputs | {"mask": black}))
    finally:
        assert engine.stdin is not None
        engine.stdin.close()
        ended = engine.wait(30)
    assert ended == 0
