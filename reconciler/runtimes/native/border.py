"""The engine's border: what the kernel and the database say becomes an error of the tree, with a known reason."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.errors import ReconcilerError, TerminalError, TransientError


@contextmanager
def border(reason: str) -> Iterator[None]:
    """Map foreign errors to `reason`, and a full disk to NoSpace. Ours pass."""
    try:
        yield
    except ReconcilerError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TerminalError(f"{where}no space left: free some", reason="NoSpace") from error
        raise TransientError(f"{where}{error.strerror or error}", reason=reason) from error
    except sqlite3.Error as error:
        full = "full" in str(error)
        raise TransientError(f"engine.db: {error}", reason="NoSpace" if full else reason) from error
