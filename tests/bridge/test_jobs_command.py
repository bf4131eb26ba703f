"""`python -m slipcast.engine jobs` beside a running engine, and after it; and that a full quota deletes nothing."""
from __future__ import annotations

import json
import os

import pytest
from engines import script

from slipcast.bridge.errors import QuotaReached, UnknownJob
from slipcast.bridge.messages import JobInfo
from slipcast.engine.__main__ import main
from slipcast.engine.contactsheet import Card, contact_sheet
from slipcast.engine.history import find_job


def jobs(engine, capsys, *arguments):
    """(exit code, standard output, standard error)"""
    action, *rest = map(str, arguments)
    code = main(["jobs", action, "--data", str(engine.data), "--connection", str(engine.connection_file), *rest])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(params=["running", "ended"])
def served(request, engine):
    """An engine with two finished jobs, the second labelled; asked while it runs, and when it does not."""
    with engine.client() as client:
        for seed, label in ((1, None), (2, "my <b>chair</b>")):
            client.wait(client.submit("views", {"seed": seed}, script(steps=1), label=label), timeout_s=15)
    if request.param == "ended":
        assert engine.end() == 0
    return engine


def test_list_and_show_tell_the_same_with_and_without_an_engine(served, capsys):
    code, out, _ = jobs(served, capsys, "list", "--json")
    listed = json.loads(out)
    assert code == 0 and [info["seed"] for info in listed] == [2, 1] and listed[0]["label"] == "my <b>chair</b>"
    code, out, _ = jobs(served, capsys, "show", listed[1]["job"][:10], "--json")
    assert code == 0 and json.loads(out) == listed[1]
    code, out, _ = jobs(served, capsys, "show", "last")
    assert code == 0 and listed[0]["job"] in out and "no model was used" in out and "file payload:" in out
    assert len(jobs(served, capsys, "list")[1].splitlines()) == 2


def test_rerun_queues_a_job_with_the_changed_setting_and_bad_ones_are_told(served, capsys):
    code, out, _ = jobs(served, capsys, "rerun", "last", "--set", "seed=9", "--set", "quality=draft")
    assert code == 0 and "is queued" in out
    newest = json.loads(jobs(served, capsys, "list", "--json")[1])[0]
    assert newest["settings"] | {"seed": 9, "quality": "draft"} == newest["settings"] and newest["label"]
    for wrong in ("seed", "sed=1", "seed=many", "quality=best"):
        code, _, err = jobs(served, capsys, "rerun", "last", "--set", wrong)
        assert code == 2 and err.startswith("slipcast: ")
    assert len(json.loads(jobs(served, capsys, "list", "--json")[1])) == 3
    if served.process.poll() is not None:       # what was queued without an engine runs with the next one
        served.start()
    with served.client() as client:
        client.fetch(newest["job"])
        assert client.wait(newest["job"], timeout_s=15).info.seed == 9


def test_delete_takes_the_files_too_and_an_unknown_job_deletes_nothing(served, capsys):
    first, second = (info["job"] for info in json.loads(jobs(served, capsys, "list", "--json")[1]))
    code, _, err = jobs(served, capsys, "delete", first, "ffffffffffff")
    assert code == 2 and "There is no job ffffffffffff" in err
    assert jobs(served, capsys, "delete", first[:8], second[:8])[0] == 0
    assert jobs(served, capsys, "list")[1] == "No jobs yet.\n"
    if served.process.poll() is None:
        served.end()
    assert not [path for path in (served.data / "blobs").rglob("*") if path.is_file()]


def test_exporting_a_result_without_a_mesh_is_refused(served, capsys, tmp_path):
    code, _, err = jobs(served, capsys, "export", "last", "-o", tmp_path / "x.glb")
    assert code == 2 and "no textured mesh" in err and not (tmp_path / "x.glb").exists()
    assert jobs(served, capsys, "export", "last")[0] == 2 and not (served.data / "results").exists()


def test_another_connection_file_than_that_of_the_engine_is_refused(make_engine, capsys):
    one, other = make_engine().start(), make_engine().start()
    code = main(["jobs", "list", "--data", str(one.data), "--connection", str(other.connection_file)])
    assert code == 1 and "--connection" in capsys.readouterr().err


def test_a_full_quota_refuses_new_inputs_and_removes_no_result(make_engine):
    engine = make_engine(quota_bytes=400_000).start()
    with engine.client() as client:
        done = client.wait(client.submit("views", {}, script() | {"a.jpg": os.urandom(250_000)}), timeout_s=15)
        for _ in range(2):
            with pytest.raises(QuotaReached, match="delete"):
                client.wait(client.submit("views", {}, script() | {"b.jpg": os.urandom(250_000)}), timeout_s=15)
        client.fetch(done.info.job)
        assert client.wait(done.info.job, timeout_s=10).data == done.data
        again = client.wait(client.rerun(done.info.job, {"seed": 3}), timeout_s=15)     # it brings no new bytes
        assert again.data["payload"] == done.data["payload"]


def info(job, **what):
    return JobInfo(**{"job": job, "method": "views", "state": "done", "revision": 1, "attempt": 1, "created_s": 0.0,
                      **what})


def test_a_job_is_found_by_its_first_digits_only_when_they_name_one():
    known = (info("ab" + "0" * 30, state="failed"), info("ac" + "0" * 30), info("b" * 32))
    assert find_job(known, "ac").job == known[1].job and find_job(known, "last").job == known[1].job
    for name, words in (("a", "2 jobs"), ("f", "no job"), ("", "no job")):
        with pytest.raises(UnknownJob, match=words):
            find_job(known, name)


def test_the_contact_sheet_escapes_what_people_wrote_and_needs_no_network():
    evil = '"><script>alert(1)</script>&'
    page = contact_sheet([Card(info("ab" * 16, label=evil, licence=evil, settings={"quality": evil}, seed=4),
                               {"thumbnail": b"\x89PNG1"}), Card(info("cd" * 16), {})])
    assert "<script" not in page and page.count("&lt;script&gt;") == 3 and "default-src 'none'" in page
    assert 'src="data:image/png;base64,iVBORzE="' in page and page.count("<article>") == 2 and "no picture" in page
    assert "http://" not in page and "https://" not in page
    assert "No jobs yet" in contact_sheet([])
