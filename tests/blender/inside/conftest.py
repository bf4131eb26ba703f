"""Runs inside a clean Blender (see ../conftest.py): installs the zip before any check is imported."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import pytest

if TYPE_CHECKING:
    from fakes import FakeClient

ZIP = os.environ["SLIPCAST_TEST_ZIP"]
sys.path.append(str(Path(__file__).resolve().parents[2]))     # lying_server.py, which all rings share
NAME = "bl_ext.user_default.slipcast"

bpy.ops.extensions.package_install_files(filepath=ZIP, repo="user_default", enable_on_install=True, overwrite=True)
assert NAME in bpy.context.preferences.addons, "the extension was not enabled"


@pytest.fixture(autouse=True)
def empty_scene() -> Iterator[None]:
    """Each check starts in an empty file, and leaves nothing under way."""
    from bl_ext.user_default.slipcast.addon import pump

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    yield
    pump.session().close()


@pytest.fixture
def fake_client() -> Iterator[FakeClient]:
    """The client of a session whose engine ends each job with a result at once."""
    from bl_ext.user_default.slipcast.addon import pump
    from fakes import FakeLanding, fake_session, finished

    session, client, _ = fake_session(FakeLanding(), finished())
    pump.open_session(session)
    yield client
    pump.unregister()
    pump.register()
