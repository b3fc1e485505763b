"""qlog files out of trace events: ``encoder`` makes the records, ``writer`` the files."""

from node.qlog.encoder import Encoder
from node.qlog.writer import QlogFile, QlogWriter

__all__ = ["Encoder", "QlogFile", "QlogWriter"]
