//! The door of Key Authority: gRPC, callers, configuration, telemetry.

pub mod admin;
pub mod announce;
pub mod bootstrap;
pub mod caller;
pub mod chain;
pub mod command;
pub mod config;
pub mod deadline;
pub mod entropy;
pub mod health;
pub mod healthcheck;
pub mod http;
pub mod lifecycle;
pub mod listener;
pub mod malformed;
pub mod methods;
pub mod metrics;
pub mod open;
pub mod routes;
pub mod serve;
pub mod service;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod verify;
pub mod wire;
