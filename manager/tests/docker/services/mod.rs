//! Services whose tasks are real containers on stock engines. One file to a subject; `scene` is what they stand on.

mod command;
mod failing_updates;
mod global;
mod jobs;
mod logs;
mod lost;
mod notes;
mod placement;
mod recording;
mod replicated;
mod restarts;
mod rolling_updates;
pub mod scene;
mod secrets;
pub mod spec;
