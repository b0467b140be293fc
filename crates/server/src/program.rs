//! The program: commands, configuration, start and end. [`serve`] is the one place where everything is wired.

pub mod announce;
pub mod bootstrap;
pub mod check_config;
pub mod command;
pub mod config;
pub mod file_permissions;
pub mod healthcheck;
pub mod routes;
pub mod serve;
pub mod shutdown;
pub mod startup;
