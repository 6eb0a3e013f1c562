//! Services whose tasks are real containers on stock engines. One file to a subject; `scene` is what they stand on.

mod global;
mod jobs;
mod lost;
mod replicated;
mod scene;
mod spec;
