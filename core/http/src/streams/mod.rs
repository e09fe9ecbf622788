//! Connections to what runs on a node: logs, `exec`, `attach`, `portforward` and `proxy`.
