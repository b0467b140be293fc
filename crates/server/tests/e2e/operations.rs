//! What operators rely on: the beginning, health, reflection, the side port, settings, subcommands, the end, TLS, the proof of the log.

mod beginning;
mod deadlines;
mod ending;
mod health;
mod settings;
mod subcommands;
mod tampering;
mod tls;
