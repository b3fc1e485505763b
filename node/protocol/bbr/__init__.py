"""BBRv3 (draft-ietf-ccwg-bbr), a subject a module; `node.protocol.congestion.bbr` plugs it in.

Section numbers are those of the draft as it stood in 2026 (the text with 22 test procedures in appendix A).
"""
