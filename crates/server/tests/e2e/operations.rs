//! What operators rely on: the beginning, health, reflection, the side port, settings, subcommands, signals, the end, TLS,
//! logs, traces, the proof of the log.

mod beginning;
mod certificates;
mod deadlines;
mod ending;
mod health;
mod held;
mod log_format;
mod settings;
mod signals;
mod subcommands;
mod tampering;
mod tls;
mod traces;
