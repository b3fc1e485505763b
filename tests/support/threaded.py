"""A module that starts a thread when it is imported, as the fork server must not have it."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
