//! Server-sent events: an incremental parser for what providers really send (wire.md 2.1, 2.3).
