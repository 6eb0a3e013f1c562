//! Stock Docker Engines as workers of a cluster of ours. Each test starts engines and managers in network namespaces of
//! its own; where root or an engine is missing it says that it was skipped, and fails when `SKEP_TEST_REQUIRE_ALL` is set.

mod failover;
mod join;
mod networks;
mod removal;
mod rotation;
mod services;
mod support;
