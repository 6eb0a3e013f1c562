//! The Dispatcher service: sessions of nodes, their heartbeats and liveness, and their assignments.
