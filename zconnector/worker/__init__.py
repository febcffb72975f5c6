"""The worker SDK: workers and clients of a connector, in Python.

from zconnector.worker import Worker

worker = Worker(major=1, minor=0)

@worker.command("CREATE_ISSUE")
async def create_issue(ctx, payload):
    return {"id": 17}

worker.run()
"""

from zconnector.worker.client import Client, Handle
from zconnector.worker.connection import Tls
from zconnector.worker.context import Context
from zconnector.worker.errors import (
    CallFailed,
    Fail,
    NoReply,
    NotSent,
    OutcomeUnknown,
    RegistrationRefused,
    Rejected,
    Retry,
    SendError,
    Unsupported,
    WorkerError,
)
from zconnector.worker.payload import PayloadError
from zconnector.worker.results import Event, Reply
from zconnector.worker.sender import RetryPolicy
from zconnector.worker.subscriber import Delivered
from zconnector.worker.sync import SyncClient, SyncHandle
from zconnector.worker.worker import Worker

__all__ = [
    "CallFailed",
    "Client",
    "Context",
    "Delivered",
    "Event",
    "Fail",
    "Handle",
    "NoReply",
    "NotSent",
    "OutcomeUnknown",
    "PayloadError",
    "RegistrationRefused",
    "Rejected",
    "Reply",
    "Retry",
    "RetryPolicy",
    "SendError",
    "SyncClient",
    "SyncHandle",
    "Tls",
    "Unsupported",
    "Worker",
    "WorkerError",
]
