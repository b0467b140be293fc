//! The protocol of `docs/coherence.md` without I/O: state machines that production, the model and the simulation run.

pub mod lease;
pub mod observed;
pub mod timings;
pub mod wait;
