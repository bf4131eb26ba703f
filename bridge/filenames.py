"""Names of files and folders that are made from what a person calls a thing."""
from __future__ import annotations

import re

NAME_CHARS = 80


def file_name(label: str) -> str:
    """`label` without what file systems and OBJ files do not take; "result" when nothing is left."""
    return re.sub(r'[\s\x00-\x1f<>:"/\\|?*]+', "_", label).strip("._")[:NAME_CHARS] or "result"


def result_folder_name(label: str, job: str) -> str:
    """The folder of a result's files. label: of its input, or its method. job: its id."""
    return f"{file_name(label)} {job[:8]}"
