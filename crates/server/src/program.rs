//! The program: commands, configuration, start and end. [`serve`] is the one place where everything is wired.

pub(crate) mod announce;
pub(crate) mod bootstrap;
pub(crate) mod check_config;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod file_permissions;
pub(crate) mod healthcheck;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod shutdown;
pub(crate) mod startup;
