"""Every error that crosses the bridge, or that a person may see, in one tree.

    BridgeError
    |-- ProtocolError                 the two sides do not understand each other
    |   |-- BadHeader                 bad_header        header is not what docs/protocol.md says
    |   |-- BadFrame                  bad_frame         raw buffer does not fit its dtype, shape or hash
    |   `-- VersionMismatch           version_mismatch  other protocol version
    |-- Refused                       the request is understood and turned down; nothing was changed
    |   |-- TooLarge                  too_large         above a limit announced at hello
    |   |-- Conflict                  conflict          same job id, other content
    |   |-- UnknownJob                unknown_job
    |   |-- UnknownBlob               unknown_blob
    |   |-- QuotaReached              quota             the engine's own disk quota
    |   `-- NoSpace                   no_space          the disk is full
    |-- BadInput                      bad_input         what the artist gave cannot be used
    |   |-- BadFolder                 bad_folder        no view folder, or a file it names is missing
    |   |-- BadImage                  bad_image         truncated, or not an image
    |   |   `-- ImageTooLarge         image_too_large   more pixels than the cap
    |   |-- BadCameras                bad_cameras       too few, NaN, contradictory, no common volume
    |   |-- BadMasks                  bad_masks         no object found in the masks
    |   |-- BadMesh                   bad_mesh          NaN, index out of range, no faces, too many
    |   |-- BadSettings               bad_settings      unknown name, wrong type, out of range
    |   `-- BadOutput                 bad_output        cannot write there, or unknown suffix
    |-- JobFailed                     the job started and did not end well
    |   |-- Cancelled                 cancelled
    |   |-- OutOfMemory               out_of_memory
    |   |-- WorkerDied                worker_died
    |   |-- StageStuck                stage_stuck       no sign of life from a stage for too long
    |   `-- InternalError             internal          a bug of ours; the text says where the log is
    |-- WeightsError                  what a model has learned is not here, or not what it should be
    |   |-- WeightsMissing            weights_missing   the person has not fetched them yet
    |   |-- BadWeights                bad_weights       truncated, other bytes, or another model's
    |   `-- NoNetwork                 no_network        cannot be downloaded: offline, or the server does not deliver
    `-- LinkError                     no usable connection to an engine
        |-- EngineNotFound            engine_not_found  no Python environment or connection file
        |-- EngineFailed              engine_failed     the engine process ended while starting
        |-- EngineGone                engine_gone       was there, is not any more
        |-- NotAllowed                not_allowed       wrong key
        `-- TimedOut                  timed_out

An error has a `message` (what happened, in the words of the person who reads it) and a `hint`
(what to do about it; may be empty). `str(error)` is both. The `code` travels on the wire.
"""
from __future__ import annotations


class BridgeError(Exception):
    """Root of the tree. `code` is the wire code; every leaf has its own."""

    code = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ProtocolError(BridgeError):
    code = "protocol"


class BadHeader(ProtocolError):
    code = "bad_header"


class BadFrame(ProtocolError):
    code = "bad_frame"


class VersionMismatch(ProtocolError):
    code = "version_mismatch"


class Refused(BridgeError):
    code = "refused"


class TooLarge(Refused):
    code = "too_large"


class Conflict(Refused):
    code = "conflict"


class UnknownJob(Refused):
    code = "unknown_job"


class UnknownBlob(Refused):
    code = "unknown_blob"


class QuotaReached(Refused):
    code = "quota"


class NoSpace(Refused):
    code = "no_space"


class BadInput(BridgeError):
    code = "bad_input"


class BadFolder(BadInput):
    code = "bad_folder"


class BadImage(BadInput):
    code = "bad_image"


class ImageTooLarge(BadImage):
    code = "image_too_large"


class BadCameras(BadInput):
    code = "bad_cameras"


class BadMasks(BadInput):
    code = "bad_masks"


class BadMesh(BadInput):
    code = "bad_mesh"


class BadSettings(BadInput):
    code = "bad_settings"


class BadOutput(BadInput):
    code = "bad_output"


class JobFailed(BridgeError):
    code = "job_failed"


class Cancelled(JobFailed):
    code = "cancelled"


class OutOfMemory(JobFailed):
    code = "out_of_memory"


class WorkerDied(JobFailed):
    code = "worker_died"


class StageStuck(JobFailed):
    code = "stage_stuck"


class InternalError(JobFailed):
    code = "internal"


class WeightsError(BridgeError):
    code = "weights"


class WeightsMissing(WeightsError):
    code = "weights_missing"


class BadWeights(WeightsError):
    code = "bad_weights"


class NoNetwork(WeightsError):
    code = "no_network"


class LinkError(BridgeError):
    code = "link"


class EngineNotFound(LinkError):
    code = "engine_not_found"


class EngineFailed(LinkError):
    code = "engine_failed"


class EngineGone(LinkError):
    code = "engine_gone"


class NotAllowed(LinkError):
    code = "not_allowed"


class TimedOut(LinkError):
    code = "timed_out"


def _tree(root: type[BridgeError]) -> dict[str, type[BridgeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[BridgeError]] = _tree(BridgeError)


def error_from_code(code: str, message: str, hint: str = "") -> BridgeError:
    """The error of a wire code; an unknown code (a newer engine) becomes a plain BridgeError that names it."""
    kind = BY_CODE.get(code)
    if kind is None:
        return BridgeError(f"[{code}] {message}", hint)
    return kind(message, hint)
