//! What operators rely on: health, reflection, the side port, settings, subcommands, the end, TLS, the proof of the log.

mod deadlines;
mod ending;
mod health;
mod settings;
mod subcommands;
mod tampering;
mod tls;
