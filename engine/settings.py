"""How an engine is served: every knob once, default and unit beside it. Torch-free.

What a person may ask of a *job* is in bridge/settings.py, because panels are built from it.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from ..bridge.messages import Limits


@dataclass(frozen=True)
class ServeSettings:
    """One engine: its limits, its patience, its rates."""

    limits: Limits = field(default_factory=Limits)
    devices: tuple[str, ...] = ("auto",)       # one worker each; "auto" is decided by the worker
    quota_bytes: int = 20 * 1024**3            # all blobs: inputs and results
    min_free_bytes: int = 256 * 1024**2        # never fill the disk further than this
    # links
    handshake_timeout_ms: int = 2000           # a connection that says nothing is closed
    heartbeat_interval_ms: int = 500           # ZMTP ping: sees a stopped peer
    heartbeat_timeout_ms: int = 1500
    send_queue: int = 4                        # messages libzmq holds per reader; above it only the newest is kept
    replies_waiting: int = 256                 # replies a client may leave unread before it is dropped
    client_probe_s: float = 60.0               # a silent client is written to, which finds out whether it is there
    transfers: int = 256                       # uploads and downloads under way, all clients together
    transfer_idle_s: float = 60.0              # an upload that stands still is dropped
    orphan_blob_s: float = 3600.0              # an uploaded blob that no job asks for is removed
    # workers
    max_deaths: int = 3                        # of workers under one job; the last one fails the job
    max_failed_starts: int = 3                 # in a row; then the device is given up until the next Submit
    respawn_pause_s: float = 0.5               # times the failed starts so far
    start_timeout_s: float = 300.0             # a cold disk reads torch in minutes
    cancel_grace_s: float = 1.0                # cooperative; then the worker is killed
    stop_grace_s: float = 1.0                  # at the end of the engine; then the workers are killed
    stage_timeout_s: float = 600.0             # a stage without any progress
    worker_silence_s: float = 60.0             # an idle worker without a heartbeat
    stderr_lines: int = 40                     # of a worker's stderr kept for an error message
    # models
    models_folder: str = ""                    # of their weights; "": beside the person's other Slipcast data
    models_look_s: float = 120.0               # to import all models and list them; then it is given up
    models_grace_s: float = 3.0                # a cancelled download ends by itself within a second
    # rates
    worker_heartbeat_s: float = 1.0
    progress_interval_s: float = 0.05          # shortest time between two Progress of a job
    preview_interval_s: float = 0.5            # shortest time between two Previews of a job
    preview_bytes: int = 64 * 1024**2          # a larger preview is left out
    # log
    log_bytes: int = 2 * 1024**2
    log_files: int = 3
