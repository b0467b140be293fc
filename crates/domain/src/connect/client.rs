//! The clients, and what each is to be told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::shell::Shell;
use super::{Endpoint, ServerName, json};

/// A program that talks to MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Claude Code, by its command.
    ClaudeCode,
    /// Codex, by its command.
    Codex,
    /// VS Code, by its command.
    VsCode,
    /// Cursor, by a link.
    Cursor,
    /// Claude Desktop, by a connector's URL.
    ClaudeDesktop,
    /// ChatGPT, by a connector's URL.
    ChatGpt,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::ClaudeCode, Self::Codex, Self::VsCode, Self::Cursor, Self::ClaudeDesktop, Self::ChatGpt];

    /// Whether it puts the value of a variable where its settings say `${NAME}`.
    const fn fills_in_variables(self) -> bool {
        matches!(self, Self::ClaudeCode | Self::VsCode | Self::Cursor)
    }
}

/// What is to be pasted or opened to connect a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Which client.
    pub client: Client,
    /// What. None: the token cannot be told to this client by any form.
    pub form: Option<Form>,
    /// What to mind, for people; may be empty.
    pub warning: String,
}

/// The form of an instruction.
#[derive(Clone, PartialEq, Eq)]
pub enum Form {
    /// Lines for a shell's prompt, each shell's own.
    Command {
        /// For sh, bash, zsh and their kin.
        posix: String,
        /// For PowerShell on Windows. None: it would not read them as they are meant.
        powershell: Option<String>,
        /// For cmd. None: it would not read them as they are meant.
        cmd: Option<String>,
    },
    /// A link to open.
    Link(String),
    /// A URL to paste where the client asks for the server's.
    ConnectorUrl(String),
}

const IN_THE_CLEAR: &str = "the URL is plain http: the token can be read on its way to the server";
const IN_THE_URL: &str = "the token stands in the URL, and URLs stand in logs and histories: give this client a key of its own, and revoke it \
     when it is not needed any more";
const AT_EACH_START: &str =
    "Codex reads the token from the environment whenever it starts: set the variable wherever you start it";
const NOT_IN_POWERSHELL: &str =
    "PowerShell would hand the URL to cmd, which takes some of it for its own: use the command for cmd";
const NOT_ON_WINDOWS: &str = "cmd takes some of the token for its own: on Windows, add the server in the client's settings, or renew the \
     key first";
const A_VARIABLE: &str = "this client takes the token's ${ for the beginning of a variable, and would send something else: renew the key \
     first";

/// What keeps its meaning in a link's parameter.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Instruction {
    /// How `client` is connected to the server at `endpoint`, as `name`, with `token` or what stands in its place.
    #[must_use]
    pub fn new(client: Client, name: &ServerName, endpoint: &Endpoint, token: &str) -> Self {
        let (name, url) = (name.as_str(), endpoint.as_str());
        let form = match client {
            Client::ClaudeCode => claude_code(name, url, token),
            Client::Codex => codex(name, url, token),
            Client::VsCode => vs_code(name, url, token),
            Client::Cursor => cursor(name, url, token),
            Client::ClaudeDesktop | Client::ChatGpt => Form::ConnectorUrl(endpoint.with_token(token)),
        };
        let form = Some(form).filter(|_| !(client.fills_in_variables() && token.contains("${")));
        let mut warnings = Vec::new();
        match &form {
            None => warnings.push(A_VARIABLE),
            Some(Form::Command { cmd: None, .. }) => warnings.push(NOT_ON_WINDOWS),
            Some(Form::Command { powershell: None, .. }) => warnings.push(NOT_IN_POWERSHELL),
            Some(Form::ConnectorUrl(_)) => warnings.push(IN_THE_URL),
            Some(Form::Command { .. } | Form::Link(_)) => {}
        }
        if client == Client::Codex {
            warnings.push(AT_EACH_START);
        }
        if endpoint.is_in_the_clear() {
            warnings.push(IN_THE_CLEAR);
        }
        Self { client, form, warning: warnings.join("; ") }
    }
}

/// A command of Claude Code or Codex: words that are the same in every shell, and arguments that are quoted for each.
///
/// On Windows, npm installs a program as a script of cmd, which reads its arguments once more. What cmd gives a meaning to
/// is text there only between quotation marks, of which PowerShell sets none around an argument without spaces; and where it
/// does, it lets a backslash before the last of them stand.
fn command(url: &str, token: &str, line: impl Fn(Shell) -> String) -> Form {
    let is_text_for_cmd = |text: &str| !text.contains(|c| "\"%^&|<>()!\\".contains(c));
    let is_for_windows = is_text_for_cmd(token);
    Form::Command {
        posix: line(Shell::Posix),
        powershell: (is_for_windows && is_text_for_cmd(url)).then(|| line(Shell::PowerShell)),
        cmd: is_for_windows.then(|| line(Shell::Cmd)),
    }
}

pub(super) fn claude_code(name: &str, url: &str, token: &str) -> Form {
    let header = format!("Authorization: Bearer {token}");
    // The header comes last: it takes in all that follows it.
    command(url, token, |shell| {
        let [name, url, header] = [name, url, &header].map(|argument| shell.quote(argument));
        format!("claude mcp add --transport http {name} {url} --header {header}")
    })
}

/// Codex keeps no token: it is told the name of a variable that holds it.
pub(super) fn codex(name: &str, url: &str, token: &str) -> Form {
    let variable = variable(name);
    command(url, token, |shell| {
        let [name, url] = [name, url].map(|argument| shell.quote(argument));
        let set = shell.set(&variable, token);
        format!("{set}\ncodex mcp add {name} --url {url} --bearer-token-env-var {variable}")
    })
}

/// The environment variable for a server's token. Its ending keeps it apart from all that have a meaning already.
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
    // `code` is a script of cmd on Windows, to which PowerShell hands quotation marks on without what makes them be kept.
    let for_powershell = server.replace('"', "\\\"");
    let line = |shell: Shell, server| format!("code --add-mcp {}", shell.quote(server));
    Form::Command {
        posix: line(Shell::Posix, &server),
        powershell: Some(line(Shell::PowerShell, &for_powershell)),
        cmd: Some(line(Shell::Cmd, &server)),
    }
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
