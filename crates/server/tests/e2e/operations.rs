//! What operators rely on: the beginning, health, reflection, the side port, settings, subcommands, signals, the end, TLS, the proof of the log.

mod beginning;
mod deadlines;
mod ending;
mod health;
mod settings;
mod signals;
mod subcommands;
mod tampering;
mod tls;
mod traces;
