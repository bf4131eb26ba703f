"""Models over the bridge: the list, fetching from servers that fail in every way, cancel, and what is never silent."""
from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import psutil
import pytest
import zmq
from engines import Peer, events_until, greet, until
from lying_server import serving

from slipcast.bridge.codec import CTL_FROM_ENGINE
from slipcast.bridge.errors import BadSettings, Conflict, UnknownJob
from slipcast.bridge.events import ModelMoved, ModelsListed, ModelTurnedDown
from slipcast.bridge.messages import Error, Ping, Pong
from slipcast.bridge.model_messages import FetchModel, Models
from slipcast.engine import __main__ as command_line
from slipcast.engine import modelcommands, worker
from slipcast.engine.models.registry import find_models
from slipcast.engine.server.link import WorkerLink
from slipcast.engine.server.sockets import LANES
from slipcast.engine.server.zap import Doorman, make_keys
from slipcast.engine.settings import ServeSettings

CONTENT = hashlib.shake_256(b"weights").digest(3_000_000)
PLUGIN = f"""
from dataclasses import dataclass
from slipcast.engine.models.spec import ModelSpec, WeightFile, knob

@dataclass(frozen=True)
class Settings:
    depth: float = knob(0.5, "How deep it is", label="Depth", low=0.1, high=2.0)

class Toy:
    def __init__(self, name, commercial_use):
        file = WeightFile("a.ckpt", {len(CONTENT)}, "{hashlib.sha256(CONTENT).hexdigest()}", "https://example.org/a")
        self.spec = ModelSpec(name=name, title=name.upper(), licence="CC0", licence_url="https://example.org/licence",
                              commercial_use=commercial_use, ram_bytes=1000, vram_bytes=2000, stages=(),
                              settings=Settings, files=(file,))
    def load(self, files, device):
        raise AssertionError("not loaded here")

TOY, STRICT = Toy("toy", True), Toy("strict", False)
"""


@pytest.fixture
def with_plugins(tmp_path, monkeypatch, make_engine):
    """(code, names, **settings) -> an engine with two models more than the built-in ones, and what the code makes of
    these names in capitals; it has a folder of its own for weights."""
    def make(code: str = "", names: tuple[str, ...] = (), **settings):
        plugins = tmp_path / "plugins"
        info = plugins / "toys_for_slipcast-1.0.dist-info"
        info.mkdir(parents=True)
        (plugins / "toys_for_slipcast.py").write_text(PLUGIN + code)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys-for-slipcast\nVersion: 1.0\n")
        entries = [f"{name} = toys_for_slipcast:{name.upper()}\n" for name in ("toy", "strict", *names)]
        (info / "entry_points.txt").write_text("[slipcast.models]\n" + "".join(entries) + "away = no_such_module:IT\n")
        paths = [str(plugins), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        return make_engine(models_folder=str(tmp_path / "weights"), **settings).start()
    return make


@pytest.fixture
def models(with_plugins):
    return with_plugins()


@pytest.fixture
def server():
    with serving(CONTENT) as served:
        yield served


@pytest.fixture
def client(models):
    with models.client() as client:
        listed(client)
        yield client


def listed(client, timeout_s: float = 30.0):
    """The next complete list."""
    client.list_models()
    return events_until(client, lambda event: isinstance(event, ModelsListed) and event.models.complete,
                        timeout_s)[-1].models


def one(models, name: str):
    return next(info for info in models.models if info.name == name)


def ended(client, *, timeout_s: float = 30.0):
    """The last progress of the task under way, and those before it."""
    events = events_until(client, lambda event: isinstance(event, ModelMoved) and event.progress.state != "running",
                          timeout_s)
    return events[-1].progress, [event.progress for event in events if isinstance(event, ModelMoved)]


def list_where(client, check):
    return events_until(client, lambda event: isinstance(event, ModelsListed) and check(event.models), 30)[-1].models


def files_of(folder) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def refused(client):
    return events_until(client, lambda event: isinstance(event, ModelTurnedDown))[-1].error


def test_the_list_comes_at_once_then_complete_and_says_what_a_person_must_know_before_a_download(models):
    with models.client() as client:
        client.list_models()
        lists = [event.models for event in events_until(
            client, lambda event: isinstance(event, ModelsListed) and event.models.complete, 30)
            if isinstance(event, ModelsListed)]
    assert not lists[0].complete and not lists[0].models      # at once, and the whole later
    triposr, strict = one(lists[-1], "triposr"), one(lists[-1], "strict")
    assert triposr.licence == "MIT" and triposr.bytes > 1.6e9 and triposr.vram > 1e9 and not triposr.non_commercial
    assert not triposr.installed and triposr.bytes_there == 0
    assert strict.non_commercial and strict.licence_url == "https://example.org/licence"
    assert strict.settings[0]["name"] == "depth" and strict.settings[0]["high"] == 2.0
    assert [name for name, why in lists[-1].broken if "no_such_module" in why] == ["away"]


def test_a_download_that_breaks_off_goes_on_and_is_counted_and_then_it_is_installed(client, server, tmp_path, models):
    behaviour, url = server
    behaviour.drops = [500_000, 1_000_000]
    client.fetch_model("toy", mirror=url)
    last, moved = ended(client)
    assert (last.state, last.task, last.error) == ("done", "fetch", None)
    assert [progress.seq for progress in moved] == sorted({progress.seq for progress in moved})
    assert last.total_bytes == last.done_bytes == len(CONTENT)
    assert behaviour.asked == [None, "bytes=500000-", "bytes=1500000-"]
    toy = one(list_where(client, lambda found: one(found, "toy").installed), "toy")
    assert toy.verified and toy.bytes_there == len(CONTENT)
    assert files_of(tmp_path / "weights") == {"a.ckpt": len(CONTENT)}
    with models.client() as other:
        assert one(listed(other), "toy").installed
    client.verify_model("toy")
    assert ended(client)[0].state == "done"
    client.remove_model("toy")
    assert ended(client)[0].state == "done"
    assert not one(list_where(client, lambda found: not one(found, "toy").installed), "toy").verified
    assert files_of(tmp_path / "weights") == {}


@pytest.mark.parametrize("spoil", ["bytes", "length", "refused"])
def test_what_is_not_the_authors_file_fails_in_words_and_nothing_is_kept(client, server, tmp_path, spoil):
    behaviour, url = server
    if spoil == "bytes":
        behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    elif spoil == "length":
        behaviour.length = 2_999_999
    else:
        behaviour.status = [404]
    client.fetch_model("toy", mirror=url)
    last = ended(client)[0]
    code, words = {"bytes": ("bad_weights", "not the file"), "length": ("bad_weights", "2999999 bytes"),
                   "refused": ("no_network", "HTTP 404")}[spoil]
    assert last.state == "failed" and last.error.code == code and words in last.error.message and last.error.hint
    assert files_of(tmp_path / "weights") == {}


def test_cancel_ends_a_silent_download_soon_keeps_the_part_and_the_next_goes_on_from_there(client, server, tmp_path):
    behaviour, url = server
    behaviour.stall = threading.Event()
    client.fetch_model("toy", mirror=url)
    part = tmp_path / "weights" / "toy" / "a.ckpt.part"
    until(lambda: part.exists() and part.stat().st_size == 100_000, "no part came")
    asked = time.monotonic()
    client.cancel_fetch("toy")
    assert ended(client)[0].state == "cancelled"
    assert time.monotonic() - asked < 2.0       # it looks each 0.1 s; the rest is for a busy machine
    assert files_of(tmp_path / "weights") == {"a.ckpt.part": 100_000}
    behaviour.stall.set()
    client.cancel_fetch("toy")
    assert isinstance(refused(client), UnknownJob)
    behaviour.stall = None
    client.fetch_model("toy", mirror=url)
    assert ended(client)[0].state == "done" and behaviour.asked[-1] == "bytes=100000-"


def test_a_licence_that_forbids_commercial_use_is_never_accepted_silently(client, server, models):
    behaviour, url = server
    client.fetch_model("strict", mirror=url)
    error = refused(client)
    assert isinstance(error, BadSettings) and "forbids commercial use" in error.message
    assert "https://example.org/licence" in error.hint
    models.kill()
    models.start()
    with models.client() as later:     # an engine that has not looked yet does not know: its child does
        later.list_models()
        later.fetch_model("strict", mirror=url)
        events = events_until(later, lambda event: isinstance(event, ModelTurnedDown) or isinstance(event, ModelMoved)
                              and event.progress.state == "failed", 30)
        assert "forbids commercial use" in str(getattr(events[-1], "error", None) or events[-1].progress.error)
        assert behaviour.asked == []
        later.fetch_model("strict", mirror=url, accept_licence=True)
        assert ended(later)[0].state == "done"


def test_offline_opens_no_connection_and_a_file_that_one_has_is_still_taken(client, server, tmp_path):
    behaviour, url = server
    client.fetch_model("toy", mirror=url, offline=True)
    last = ended(client)[0]
    assert (last.state, last.error.code) == ("failed", "no_network") and behaviour.asked == []
    mine = tmp_path / "my files" / "a.ckpt"
    mine.parent.mkdir()
    mine.write_bytes(CONTENT)
    client.fetch_model("toy", place=str(mine), offline=True)
    last = ended(client)[0]
    assert (last.state, last.task) == ("done", "copy") and mine.exists() and behaviour.asked == []


def test_one_task_at_a_time_the_same_asked_twice_is_one_and_unknown_names_are_said_so(client, server):
    behaviour, url = server
    behaviour.stall = threading.Event()
    client.fetch_model("toy", mirror=url)
    client.fetch_model("toy", mirror=url)
    client.verify_model("toy")
    assert isinstance(refused(client), Conflict)
    behaviour.stall.set()
    assert ended(client)[0].state == "done" and len(behaviour.asked) == 1
    client.fetch_model("nosuch")
    last = ended(client)[0]
    assert (last.state, last.error.code) == ("failed", "bad_settings") and "triposr" in last.error.hint
    client.fetch_model("../../etc")
    assert "name of a model" in str(refused(client))


def fetch_and_damage(client, url: str, path: Path) -> None:
    """One byte of the fetched file is another one; its size stays."""
    client.fetch_model("toy", mirror=url)
    assert ended(client)[0].state == "done"
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])


def test_damage_is_found_by_verify_and_told_in_the_list(client, server, tmp_path):
    _, url = server
    path = tmp_path / "weights" / "toy" / "a.ckpt"
    fetch_and_damage(client, url, path)
    client.verify_model("toy")
    last = ended(client)[0]
    assert (last.state, last.error.code) == ("failed", "bad_weights")
    assert not one(list_where(client, lambda found: not one(found, "toy").verified), "toy").damaged
    path.write_bytes(CONTENT[:-1])
    assert one(listed_again(client), "toy").damaged


def listed_again(client):
    client.list_models()
    return list_where(client, lambda found: one(found, "toy").damaged)


def test_the_engine_answers_at_once_while_it_looks_and_downloads(models, server):
    behaviour, url = server
    behaviour.stall = threading.Event()
    connection = models.connection()
    with Peer(connection, connection.ctl) as peer:
        greet(peer)
        peer.ask(Models(), "list", CTL_FROM_ENGINE)
        peer.ask(FetchModel("toy", mirror=url), "fetch", CTL_FROM_ENGINE)
        waits = []
        for number in range(40):
            asked = time.perf_counter()
            assert isinstance(peer.ask(Ping(), f"p{number}", CTL_FROM_ENGINE), Pong)
            waits.append(time.perf_counter() - asked)
            time.sleep(0.01)
        assert sorted(waits)[len(waits) // 2] < 0.1     # two starts of Python share two cores with us
        assert isinstance(peer.ask(FetchModel("UPPER"), "bad", CTL_FROM_ENGINE), Error)


def test_an_engine_that_ends_takes_its_downloads_with_it_also_when_it_is_killed(models, server, tmp_path):
    behaviour, url = server
    behaviour.stall = threading.Event()
    part = tmp_path / "weights" / "toy" / "a.ckpt.part"
    for way in (models.end, models.kill):
        with models.client() as client:
            client.fetch_model("toy", mirror=url)
            until(lambda: part.exists() and part.stat().st_size == 100_000, "no part came")
            children = psutil.Process(models.process.pid).children(recursive=True)
            way()
        assert not psutil.wait_procs(children, timeout=10)[1], "a download outlived its engine"
        assert part.stat().st_size == 100_000
        part.unlink()
        models.start()


# --- plug-ins that state nonsense, or hang --------------------------------------------------------------------------
NONSENSE = """
import dataclasses

@dataclass(frozen=True)
class Endless:
    size: float = knob(1.0, "How large it is", label="Size", high=float("inf"))

@dataclass(frozen=True)
class Strange:
    size: object = knob(object(), "How large it is", label="Size")

def odd(called, **facts):
    model = Toy(called, True)
    model.spec = dataclasses.replace(model.spec, **facts)
    return model

ENDLESS, STRANGE, BARE = odd("endless", settings=Endless), odd("strange", settings=Strange), odd("bare", settings=int)
HEAVY, EMPTY, NAMELESS = odd("heavy", ram_bytes="much"), odd("empty", files=(None,)), odd("nobody", name=None)
"""
ODD_NAMES = ("endless", "strange", "bare", "heavy", "empty", "nameless")


def is_alive(engine) -> bool:
    with Peer(engine.connection(), engine.connection().ctl) as peer:
        greet(peer)
        return isinstance(peer.ask(Ping(), "ping", CTL_FROM_ENGINE), Pong)


def test_a_plug_in_that_states_nonsense_is_named_as_broken_and_harms_no_other(with_plugins):
    engine = with_plugins(NONSENSE, ODD_NAMES)
    with engine.client() as client:
        found = listed(client)
    assert is_alive(engine) and found.error is None
    assert {info.name for info in found.models} >= {"toy", "strict", "triposr", "silhouette"}
    broken = dict(found.broken)
    assert set(broken) == {"away", *ODD_NAMES} and all(broken.values())
    assert not {info.name for info in found.models} & set(ODD_NAMES)


def test_a_list_that_is_too_long_for_a_message_is_said_so_and_the_engine_goes_on(with_plugins):
    engine = with_plugins(limits={"header_bytes": 3000})
    with engine.client() as client:
        found = listed(client)
        assert not found.models and "cannot be sent" in found.error.message and "bytes" in found.error.message
        assert found.error.hint
    assert is_alive(engine)


@pytest.mark.parametrize("said", ['{"models": [], "broken": {"it": NaN}}', '{"models": [], "broken": {"\\ud800": ""}}',
                                  '{"models": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}'])
def test_what_is_no_strict_json_is_taken_for_words(with_plugins, said):
    engine = with_plugins(f"import os; print({said!r}, flush=True); os._exit(0)")
    with engine.client() as client:
        found = listed(client)
        assert not found.models and "cannot tell which models" in found.error.message and said in found.error.message
    assert is_alive(engine)


def test_a_plug_in_that_hangs_is_given_up_and_the_list_can_be_asked_for_again(with_plugins):
    engine = with_plugins("import time; time.sleep(600)", models_look_s=1.5)
    with engine.client() as client:
        for _ in range(2):
            error = listed(client).error
            assert "more than 1.5 s" in error.message and "plug-ins" in error.hint
    until(lambda: len(psutil.Process(engine.process.pid).children()) == 1, "a list outlived its time")   # the worker


def test_a_list_asked_for_again_while_the_engine_looks_does_not_throw_away_what_was_found(models):
    with models.client() as client:
        client.list_models()
        client.list_models()
        lists = [event.models for event in events_until(
            client, lambda event: isinstance(event, ModelsListed) and event.models.complete, 30)
            if isinstance(event, ModelsListed)]
    assert [(bool(found.models), found.complete) for found in lists] == [
        (False, False), (False, False), (True, False), (True, True)]


# --- weights that are there already ---------------------------------------------------------------------------------
def test_fetching_what_is_here_compares_it_and_brings_what_is_damaged_again(client, server, tmp_path):
    behaviour, url = server
    path = tmp_path / "weights" / "toy" / "a.ckpt"
    fetch_and_damage(client, url, path)
    client.fetch_model("toy", offline=True)
    assert ended(client)[0].error.code == "no_network"
    assert not one(list_where(client, lambda found: not one(found, "toy").verified), "toy").verified
    client.fetch_model("toy", mirror=url)
    assert ended(client)[0].state == "done" and path.read_bytes() == CONTENT and len(behaviour.asked) == 2
    client.fetch_model("toy", offline=True)
    assert ended(client)[0].state == "done" and len(behaviour.asked) == 2


def test_removing_what_is_not_there_is_done_so_that_it_may_be_asked_twice(client):
    for _ in range(2):
        client.remove_model("toy")
        assert ended(client)[0].state == "done"


# --- where weights are kept, and commands that end early ------------------------------------------------------------
def test_workers_look_for_weights_where_the_engine_keeps_them(tmp_path):
    spec = find_models().get("triposr").spec
    context = zmq.Context(LANES)
    doorman = Doorman(context)
    doorman.start()
    link = WorkerLink(context, doorman, make_keys(), ServeSettings(models_folder=str(tmp_path)), "log")
    runner = worker._real_runner(link.config(make_keys(), "cpu"))
    link.socket.close()
    context.term()
    assert runner.keywords["shelf"].store.path(spec, spec.files[0]).is_relative_to(tmp_path)


def test_serve_is_told_where_weights_are_kept(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr("slipcast.engine.server.serve", lambda settings, *_, **__: told.append(settings.models_folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command_line.main(["serve", "--models-folder", "~/weights"]) == command_line.main(["serve"]) == 0
    assert told == [str(tmp_path / "weights"), ""]


def test_ctrl_c_while_plug_ins_are_imported_ends_in_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(modelcommands, "find_models", interrupted)
    assert command_line.main(["models", "list"]) == 130
    assert capsys.readouterr().err.startswith("slipcast: Stopped")
