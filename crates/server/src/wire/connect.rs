//! `PrepareConnection`: the request, and the conversion of instructions to protobuf.

use key_authority_domain::audit::IdempotencyKey;
use key_authority_domain::id::{AccountId, KeyId};
use key_authority_mcp_connect::{Client, Endpoint, Form, Instruction, ServerName};
use key_authority_proto::v1;

use super::check::Check;
use super::idempotency_key::idempotency_key;
use super::violations::Violations;

/// The connection to prepare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectSpec {
    /// The account of the key.
    pub account: AccountId,
    /// The clients to connect.
    pub clients: Vec<Client>,
    /// The clients' name for the server.
    pub name: ServerName,
    /// The URL of the server.
    pub endpoint: Endpoint,
    /// The key; `None` for the newest active one.
    pub key_id: Option<KeyId>,
    /// Whether to create a key if there is no active one.
    pub create_if_none: bool,
    /// The idempotency key of the request.
    pub request: Option<IdempotencyKey>,
}

/// Reads the connection to prepare.
///
/// # Errors
/// The violations of the request.
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
    let request = idempotency_key(&mut check, request);
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

/// Returns the client that a message names; `None` for all of them.
#[must_use]
pub(crate) fn client_of_proto(wanted: v1::ConnectClient) -> Option<Client> {
    Client::ALL.into_iter().find(|client| client_to_proto(*client) == wanted)
}

/// Converts an instruction.
#[must_use]
pub(crate) fn instruction_to_proto(instruction: Instruction) -> v1::ConnectInstruction {
    let common = v1::ConnectInstruction {
        client: client_to_proto(instruction.client).into(),
        warning: instruction.warning,
        ..Default::default()
    };
    match instruction.form {
        Some(Form::Command { posix, powershell, cmd }) => v1::ConnectInstruction {
            posix_command: posix,
            powershell_command: powershell.unwrap_or_default(),
            cmd_command: cmd.unwrap_or_default(),
            ..common
        },
        Some(Form::Link(link)) => v1::ConnectInstruction { link, ..common },
        Some(Form::Settings(settings_json)) => v1::ConnectInstruction { settings_json, ..common },
        Some(Form::ConnectorUrl(connector_url)) => v1::ConnectInstruction { connector_url, ..common },
        None => common,
    }
}
