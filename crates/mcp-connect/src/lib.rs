//! How to connect an AI agent to an MCP server with a key: the exact command, link or URL for each client.
//!
//! Users paste these commands into a shell. No character of a name, a URL or a token may act as code there: [`shell`]
//! quotes for each shell, [`json`] writes JSON without characters that a shell interprets, and [`instruction`] combines
//! them for each client. To add a client, add a variant to [`Client`] and an arm to [`Instruction::new`].

pub mod endpoint;
pub mod instruction;
pub mod json;
pub mod server_name;
pub mod shell;

pub use endpoint::Endpoint;
pub use instruction::{Client, Form, Instruction, PLACEHOLDER};
pub use server_name::ServerName;

#[cfg(test)]
mod tests;
