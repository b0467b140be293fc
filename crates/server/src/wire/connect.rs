//! What to connect to which server.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_mcp_connect::{Client, Endpoint, Form, Instruction, ServerName};
use key_authority_proto::v1;

use super::check::Check;
use super::mark::mark;
use super::violations::Violations;

/// What to connect to which server, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectSpec {
    /// Whose key.
    pub account: AccountId,
    /// Which clients.
    pub clients: Vec<Client>,
    /// What they shall call the server.
    pub name: ServerName,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which key; None means the newest active one.
    pub key_id: Option<KeyId>,
    /// Whether to create a key where there is no active one.
    pub create_if_none: bool,
    /// By what the call is known when it is repeated.
    pub request: Option<IdempotencyKey>,
}

/// Reads what to connect.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn connect(request: &v1::PrepareConnectionRequest) -> Result<ConnectSpec, Violations> {
    let mut check = Check::new();
    let account = check.required("account", &request.account, AccountId::new);
    let clients = clients(request.client);
    if clients.is_none() {
        check.violation("client", "must be a client, or unspecified for all of them");
    }
    let name = check.required("server_name", &request.server_name, ServerName::new);
    let endpoint = check.required("url", &request.url, Endpoint::new);
    let key_id = check.optional("key_id", &request.key_id, KeyId::new);
    let create_if_none = request.create_if_none;
    if create_if_none && !request.key_id.is_empty() {
        check.violation("create_if_none", "must not be set together with key_id");
    }
    let request = mark(&mut check, request);
    check.finish(|| {
        Some(ConnectSpec {
            account: account?,
            clients: clients?,
            name: name?,
            endpoint: endpoint?,
            key_id,
            create_if_none,
            request,
        })
    })
}

fn clients(number: i32) -> Option<Vec<Client>> {
    let wanted = v1::ConnectClient::try_from(number).ok()?;
    let is_wanted = |client: &Client| wanted == v1::ConnectClient::Unspecified || client_to_proto(*client) == wanted;
    Some(Client::ALL.into_iter().filter(is_wanted).collect())
}

const fn client_to_proto(client: Client) -> v1::ConnectClient {
    match client {
        Client::ClaudeCode => v1::ConnectClient::ClaudeCode,
        Client::Codex => v1::ConnectClient::Codex,
        Client::VsCode => v1::ConnectClient::VsCode,
        Client::Cursor => v1::ConnectClient::Cursor,
        Client::ClaudeDesktop => v1::ConnectClient::ClaudeDesktop,
        Client::ChatGpt => v1::ConnectClient::Chatgpt,
    }
}

/// An instruction as callers see it.
#[must_use]
pub(crate) fn instruction_to_proto(instruction: Instruction) -> v1::ConnectInstruction {
    let told = v1::ConnectInstruction {
        client: client_to_proto(instruction.client).into(),
        warning: instruction.warning,
        ..Default::default()
    };
    match instruction.form {
        Some(Form::Command { posix, powershell, cmd }) => v1::ConnectInstruction {
            posix_command: posix,
            powershell_command: powershell.unwrap_or_default(),
            cmd_command: cmd.unwrap_or_default(),
            ..told
        },
        Some(Form::Link(link)) => v1::ConnectInstruction { link, ..told },
        Some(Form::ConnectorUrl(connector_url)) => v1::ConnectInstruction { connector_url, ..told },
        None => told,
    }
}
