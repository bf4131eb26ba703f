"""One tree of errors: drawn whole in its docstring, a wire code each, there and back."""
from __future__ import annotations

import pickle
import re

import pytest

from slipcast.bridge import errors
from slipcast.bridge.errors import BY_CODE, BadImage, BridgeError, ImageTooLarge, error_from_code

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BridgeError)]


def test_every_class_has_a_code_of_its_own():
    codes = [kind.__dict__["code"] for kind in KINDS]      # its own, not its parent's
    assert len(set(codes)) == len(codes) == len(BY_CODE)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def drawn_tree() -> dict[str, tuple[str, str]]:
    """Name -> (parent, code or "") as the docstring draws it; four columns a level."""
    tree, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([| ]*)(?:[|`]-- )?([A-Z]\w+)(?: +([a-z_]+)\b)?", line)
        if found:
            depth = (len(found[1]) + (4 if "-- " in line else 0)) // 4
            path[depth:] = [found[2]]
            is_code = found[3] in BY_CODE
            tree[found[2]] = (path[depth - 1] if depth else "", found[3] if is_code else "")
    return tree


def test_the_docstring_draws_every_class_under_its_parent():
    assert {name: parent for name, (parent, _) in drawn_tree().items()} == {
        kind.__name__: kind.__base__.__name__ if kind is not BridgeError else "" for kind in KINDS}


def test_the_docstring_gives_the_code_of_every_leaf():
    drawn = drawn_tree()
    for kind in KINDS:
        if not kind.__subclasses__():
            assert drawn[kind.__name__][1] == kind.code


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_from_its_code(kind: type[BridgeError]):
    back = error_from_code(kind.code, "It is bad.", "Do this.")
    assert type(back) is kind
    assert (back.message, back.hint, str(back)) == ("It is bad.", "Do this.", "It is bad. Do this.")


def test_an_unknown_code_keeps_its_words():
    back = error_from_code("from_the_future", "It is bad.")
    assert type(back) is BridgeError
    assert str(back) == "[from_the_future] It is bad."


def test_a_handler_of_the_parent_catches_the_child():
    assert issubclass(ImageTooLarge, BadImage)


def test_errors_survive_a_process_boundary():
    error = BadImage("It is bad.", "Do this.")
    back = pickle.loads(pickle.dumps(error))       # multiprocessing does this; the wire never does
    assert (type(back), back.message, back.hint) == (BadImage, "It is bad.", "Do this.")
