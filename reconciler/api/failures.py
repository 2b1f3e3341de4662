"""How the API says no: Kubernetes' Status objects, with its codes and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import (
    ConflictError,
    HostError,
    ManifestError,
    ReconcilerError,
    TerminalError,
    TransientError,
)


class Failure(Exception):
    """An answer that is a Status. `reason` is one of metav1.StatusReason; `code` its HTTP status."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    def to_json(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
        }
        if self.details:
            status["details"] = dict(self.details)
        return status | {"code": self.code}


def bad_request(message: str) -> Failure:
    """What was asked makes no sense."""
    return Failure(400, "BadRequest", message)


def not_found(resource: str, group: str, name: str) -> Failure:
    """There is no object of that name. `resource` is the plural."""
    qualified = f"{resource}.{group}" if group else resource
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return Failure(404, "NotFound", f'{qualified} "{name}" not found', details)


def no_such_path() -> Failure:
    """Nothing is served under that path."""
    return Failure(404, "NotFound", "the server could not find the requested resource")


def invalid(kind: str, name: str, faults: Sequence[tuple[str, str]]) -> Failure:
    """Options out of their range. `faults` are (field, sentence)."""
    sentences = [f"{field}: {sentence}" for field, sentence in faults]
    shown = sentences[0] if len(sentences) == 1 else "[" + ", ".join(sentences) + "]"
    causes = [{"reason": "FieldValueInvalid", "message": sentence, "field": field} for field, sentence in faults]
    quoted = f' "{name}"' if name else ""
    details = {"name": name, "kind": kind, "causes": causes}
    return Failure(422, "Invalid", f"{kind}{quoted} is invalid: {shown}", details)


def expired(asked: int, oldest: int) -> Failure:
    """The history does not reach that far back: list again."""
    return Failure(410, "Expired", f"too old resource version: {asked} ({oldest})")


def internal_error(message: str) -> Failure:
    """What was asked was right, and it did not work."""
    return Failure(500, "InternalError", f"Internal error occurred: {message}")


def failure_of(error: ReconcilerError) -> Failure:
    """One of our own errors, with its own reason. Problems of manifests are its causes."""
    match error:
        case ManifestError():
            causes = [{"reason": "FieldValueInvalid", "message": str(problem)} for problem in error.problems]
            return Failure(422, error.reason, str(error), {"causes": causes} if causes else None)
        case TerminalError(reason="NotFound"):
            return Failure(404, error.reason, str(error))
        case ConflictError():
            return Failure(409, error.reason, str(error))
        case TransientError() | HostError():
            return Failure(503, error.reason, str(error))
        case _:
            return Failure(500, error.reason, str(error))
