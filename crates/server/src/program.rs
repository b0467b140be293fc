//! The program: commands, configuration, startup and shutdown. [`serve`] is the only module where components are
//! constructed and wired.

pub(crate) mod announce;
mod background;
pub(crate) mod bootstrap;
pub(crate) mod check_config;
pub(crate) mod command;
pub(crate) mod config;
mod connections;
pub(crate) mod file_permissions;
pub(crate) mod healthcheck;
mod resources;
pub(crate) mod routes;
pub(crate) mod serve;
mod serve_error;
mod server;
pub(crate) mod shutdown;
pub(crate) mod side_port;
mod signals;
pub(crate) mod startup;
mod usage_error;
