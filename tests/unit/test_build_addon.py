"""The builder of the zips: what it refuses, and what it puts in. Nothing here needs the network or Blender."""
from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from slipcast import build_addon
from slipcast.build_addon import GENERATIONS, BuildError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in small: all that the builder reads, and things that must not get into a zip."""
    root = tmp_path / "any name"
    files = {
        "pyproject.toml": '[project]\nname = "slipcast"\nversion = "1.2.3"\n',
        "blender_manifest.toml": 'schema_version = "1.0.0"\nid = "slipcast"\nversion = "1.2.3"\n'
                                 'blender_version_min = "4.2.0"\n[permissions]\nfiles = "Read \\"view\\" folders"\n',
        "constraints.txt": f"numpy==1.26.4\npyzmq=={build_addon.PYZMQ_VERSION}\n",
        "docs/protocol.md": "# Protocol\n\nThis is protocol version 7.\n",
        "bridge/__init__.py": 'VERSION = "1.2.3"\nPROTOCOL_VERSION = 7\n',
        "__init__.py": "", "LICENSE": "GPL", "addon/__init__.py": "", "engine/__init__.py": "",
        "engine/server/__init__.py": "", "addon/icon.png": "png",
        "engine/__pycache__/x.pyc": "", "engine/.DS_Store": "", "addon/old.py~": "", "tests/unit/test_x.py": "",
        "examples/a.jpg": "", "README.md": "", "bench/quality.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_versions_of_this_checkout_agree():
    assert build_addon.check_versions(ROOT).count(".") == 2


@pytest.mark.parametrize("name", ["pyproject.toml", "blender_manifest.toml", "bridge/__init__.py"])
def test_a_version_that_differs_anywhere_is_refused_by_file_name(checkout: Path, name: str):
    assert build_addon.check_versions(checkout) == "1.2.3"
    replace(checkout / name, "1.2.3", "1.2.4")
    with pytest.raises(BuildError, match=rf"{name} says 1\.2\.4"):
        build_addon.check_versions(checkout)


def test_a_protocol_text_of_another_version_is_refused(checkout: Path):
    replace(checkout / "docs/protocol.md", "version 7", "version 6")
    with pytest.raises(BuildError, match=r"speaks protocol version 7, docs/protocol\.md describes 6"):
        build_addon.check_versions(checkout)


def test_a_pyzmq_pin_other_than_the_bundled_wheel_is_refused(checkout: Path):
    replace(checkout / "constraints.txt", f"pyzmq=={build_addon.PYZMQ_VERSION}", "pyzmq==1.0")
    with pytest.raises(BuildError, match="must pin pyzmq"):
        build_addon.check_versions(checkout)


def test_a_missing_file_is_named(checkout: Path):
    (checkout / "docs/protocol.md").unlink()
    with pytest.raises(BuildError, match=r"protocol\.md is missing"):
        build_addon.check_versions(checkout)


def test_an_unknown_platform_is_refused_before_any_work(tmp_path: Path):
    with pytest.raises(BuildError, match=r"amiga.*linux-x64"):
        build_addon.build(["amiga"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wheel_in_the_cache_that_is_not_the_pinned_one_is_refused(tmp_path: Path):
    tags = f"{GENERATIONS[0].tags}-{build_addon.PLATFORMS['linux-x64']}"
    (tmp_path / f"pyzmq-{build_addon.PYZMQ_VERSION}-{tags}.whl").write_bytes(b"not a wheel")
    with pytest.raises(BuildError, match="another sha256"):
        build_addon.fetch_wheel(GENERATIONS[0], "linux-x64", tmp_path)


def test_every_platform_and_generation_has_a_pinned_wheel():
    wanted = {f"{generation.tags}-{tag}" for generation in GENERATIONS for tag in build_addon.PLATFORMS.values()}
    assert wanted == set(build_addon.WHEEL_SHA256)


def staged(checkout: Path, tmp_path: Path, generation: int) -> tuple[Path, str]:
    wheel = tmp_path / f"pyzmq-{generation}.whl"
    wheel.write_bytes(b"wheel")
    folder = tmp_path / f"stage{generation}"
    folder.mkdir()
    build_addon.stage(checkout, GENERATIONS[generation], "linux-x64", wheel, folder)
    return folder, wheel.name


def test_a_zip_holds_the_three_wings_the_wheel_and_nothing_else(checkout: Path, tmp_path: Path):
    folder, wheel = staged(checkout, tmp_path, 0)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "__init__.py", "blender_manifest.toml", "LICENSE", "addon/__init__.py", "addon/icon.png", "bridge/__init__.py",
        "engine/__init__.py", "engine/server/__init__.py", f"wheels/{wheel}"}


def test_the_two_zips_split_the_blender_versions_between_them(checkout: Path, tmp_path: Path):
    manifests = []
    for generation in (0, 1):
        folder, wheel = staged(checkout, tmp_path, generation)
        manifest = tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))
        assert manifest["wheels"] == [f"./wheels/{wheel}"]
        assert manifest["platforms"] == ["linux-x64"]
        assert manifest["permissions"] == {"files": 'Read "view" folders'}
        manifests.append(manifest)
    assert manifests[0]["blender_version_min"] == "4.2.0"
    assert manifests[0]["blender_version_max"] == manifests[1]["blender_version_min"] == "5.1.0"
    assert "blender_version_max" not in manifests[1]


def test_a_manifest_survives_the_way_through_text():
    manifest = {"id": "slipcast", "name": 'Ü "quoted" \\ name', "tags": ["Mesh", "3D View"],
                "permissions": {"files": "a"}}
    assert tomllib.loads(build_addon.manifest_text(manifest)) == manifest
