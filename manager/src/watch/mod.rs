//! The Watch service: a live stream of what the store commits.
