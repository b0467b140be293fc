//! The supported clients and the connection instruction for each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::endpoint::Endpoint;
use crate::json;
use crate::server_name::ServerName;
use crate::shell::Shell;

/// Text in place of the token when an instruction is made without one. It has no special meaning in any shell, in JSON
/// or in a URL.
pub const PLACEHOLDER: &str = "YOUR_API_KEY";

/// A program that talks to MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Claude Code, connected with a command.
    ClaudeCode,
    /// Codex, connected with a command.
    Codex,
    /// VS Code, connected with a command.
    VsCode,
    /// Cursor, connected with a link, or with settings when there is no token.
    Cursor,
    /// Claude Desktop, connected with the URL of a connector.
    ClaudeDesktop,
    /// ChatGPT, connected with the URL of a connector.
    ChatGpt,
}

impl Client {
    /// All clients.
    pub const ALL: [Self; 6] =
        [Self::ClaudeCode, Self::Codex, Self::VsCode, Self::Cursor, Self::ClaudeDesktop, Self::ChatGpt];

    /// Whether the client replaces `${NAME}` in its settings with the value of an environment variable.
    const fn expands_variables(self) -> bool {
        matches!(self, Self::ClaudeCode | Self::VsCode | Self::Cursor)
    }
}

/// What the user pastes or opens to connect a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The client.
    pub client: Client,
    /// The command, link or URL. None if no form passes this token to the client unchanged.
    pub form: Option<Form>,
    /// Warnings for the user, separated by `; `. May be empty.
    pub warning: String,
}

/// The form of an instruction.
#[derive(Clone, PartialEq, Eq)]
pub enum Form {
    /// Lines for a shell prompt, one variant for each shell.
    Command {
        /// For sh, bash, zsh and similar shells.
        posix: String,
        /// For PowerShell on Windows. None if no quoting preserves the arguments.
        powershell: Option<String>,
        /// For cmd. None if no quoting preserves the arguments.
        cmd: Option<String>,
    },
    /// A link to open.
    Link(String),
    /// JSON to add to the client's settings file, instead of a link that nobody could put a token into.
    Settings(String),
    /// A URL to paste where the client asks for the server's URL.
    ConnectorUrl(String),
}

const PLAINTEXT: &str = "the URL is plain http: the token is sent unencrypted";
const TOKEN_IN_URL: &str = "the URL contains the token, and URLs appear in logs and browser histories: create a \
     separate key for this client, and revoke it when it is no longer needed";
const ENVIRONMENT_VARIABLE: &str =
    "Codex reads the token from the environment each time it starts: set the variable wherever you start it";
const NOT_IN_POWERSHELL: &str =
    "PowerShell passes the URL to cmd, which interprets some of its characters: use the command for cmd";
const NOT_ON_WINDOWS: &str = "cmd interprets some characters of the token: on Windows, add the server in the client's \
     settings, or renew the key first";
const IN_SETTINGS: &str = "add this to the file ~/.cursor/mcp.json, with your token in place of YOUR_API_KEY";
const TOKEN_HAS_VARIABLE: &str =
    "this client interprets ${ in the token as a variable and would send another token: renew the key first";

/// The characters that are percent-encoded in a link's parameter.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Instruction {
    /// The instruction that connects `client` to the server at `endpoint` under `name` with `token`, which may be
    /// [`PLACEHOLDER`].
    #[must_use]
    pub fn new(client: Client, name: &ServerName, endpoint: &Endpoint, token: &str) -> Self {
        let (name, url) = (name.as_str(), endpoint.as_str());
        let form = match client {
            Client::ClaudeCode => claude_code(name, url, token),
            Client::Codex => codex(name, url, token),
            Client::VsCode => vs_code(name, url, token),
            Client::Cursor if token == PLACEHOLDER => cursor_settings(name, url),
            Client::Cursor => cursor(name, url, token),
            Client::ClaudeDesktop | Client::ChatGpt => Form::ConnectorUrl(endpoint.with_token(token)),
        };
        let form = Some(form).filter(|_| !(client.expands_variables() && token.contains("${")));
        let mut warnings = Vec::new();
        match &form {
            None => warnings.push(TOKEN_HAS_VARIABLE),
            Some(Form::Command { cmd: None, .. }) => warnings.push(NOT_ON_WINDOWS),
            Some(Form::Command { powershell: None, .. }) => warnings.push(NOT_IN_POWERSHELL),
            Some(Form::ConnectorUrl(_)) => warnings.push(TOKEN_IN_URL),
            Some(Form::Settings(_)) => warnings.push(IN_SETTINGS),
            Some(Form::Command { .. } | Form::Link(_)) => {}
        }
        if client == Client::Codex {
            warnings.push(ENVIRONMENT_VARIABLE);
        }
        if endpoint.is_plaintext() {
            warnings.push(PLAINTEXT);
        }
        Self { client, form, warning: warnings.join("; ") }
    }
}

/// A command of Claude Code or Codex. `line` builds it with arguments quoted for the shell.
///
/// On Windows, npm installs a program as a cmd script, so cmd parses its arguments a second time. There, a character
/// that cmd interprets is literal only between quotation marks. PowerShell adds quotation marks only around an argument
/// that contains a space, and then it does not escape a trailing backslash.
fn command(url: &str, token: &str, line: impl Fn(Shell) -> String) -> Form {
    let is_literal_in_cmd = |text: &str| !text.contains(|c| "\"%^&|<>()!\\".contains(c));
    let has_windows_form = is_literal_in_cmd(token);
    Form::Command {
        posix: line(Shell::Posix),
        powershell: (has_windows_form && is_literal_in_cmd(url)).then(|| line(Shell::PowerShell)),
        cmd: has_windows_form.then(|| line(Shell::Cmd)),
    }
}

pub(super) fn claude_code(name: &str, url: &str, token: &str) -> Form {
    let header = format!("Authorization: Bearer {token}");
    // The header comes last: the option consumes all arguments that follow it.
    command(url, token, |shell| {
        let [name, url, header] = [name, url, &header].map(|argument| shell.quote(argument));
        format!("claude mcp add --transport http {name} {url} --header {header}")
    })
}

/// Codex stores no token: its configuration holds the name of the environment variable that contains it.
pub(super) fn codex(name: &str, url: &str, token: &str) -> Form {
    let variable = variable(name);
    command(url, token, |shell| {
        let [name, url] = [name, url].map(|argument| shell.quote(argument));
        let set = shell.set_variable(&variable, token);
        format!("{set}\ncodex mcp add {name} --url {url} --bearer-token-env-var {variable}")
    })
}

/// The environment variable for a server's token. The suffix `_MCP_TOKEN` avoids collisions with other variables.
fn variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let start = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    format!("{start}{}_MCP_TOKEN", name.chars().map(letter).collect::<String>())
}

pub(super) fn vs_code(name: &str, url: &str, token: &str) -> Form {
    let header = json::object(&[("Authorization", json::string(&format!("Bearer {token}")))]);
    let server = json::object(&[
        ("name", json::string(name)),
        ("type", json::string("http")),
        ("url", json::string(url)),
        ("headers", header),
    ]);
    // On Windows, `code` is a cmd script. PowerShell passes quotation marks to it without the escapes that preserve
    // them.
    let for_powershell = server.replace('"', "\\\"");
    let line = |shell: Shell, server| format!("code --add-mcp {}", shell.quote(server));
    Form::Command {
        posix: line(Shell::Posix, &server),
        powershell: Some(line(Shell::PowerShell, &for_powershell)),
        cmd: Some(line(Shell::Cmd, &server)),
    }
}

/// The settings of Cursor with the placeholder. A link has its settings in base64, where nobody can replace it.
fn cursor_settings(name: &str, url: &str) -> Form {
    let server = serde_json::json!({ "url": url, "headers": { "Authorization": format!("Bearer {PLACEHOLDER}") } });
    Form::Settings(format!("{:#}", serde_json::json!({ "mcpServers": { name: server } })))
}

pub(super) fn cursor(name: &str, url: &str, token: &str) -> Form {
    let config = serde_json::json!({ "url": url, "headers": { "Authorization": format!("Bearer {token}") } });
    let config = STANDARD.encode(config.to_string());
    let encode = |text| utf8_percent_encode(text, PARAMETER);
    Form::Link(format!(
        "cursor://anysphere.cursor-deeplink/mcp/install?name={}&config={}",
        encode(name),
        encode(&config)
    ))
}
