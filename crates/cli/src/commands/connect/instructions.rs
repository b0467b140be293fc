//! Instructions to connect a client to an MCP server: lines to paste and links to open, which the authority generates.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use key_authority_proto::v1::{
    ConnectClient, ConnectInstruction, PrepareConnectionRequest, PrepareConnectionResponse, TokenSource,
};
use tonic::transport::Uri;

use super::Session;
use crate::client::Api;
use crate::console::{Format, is_closed, note};
use crate::errors::{Error, Exit};
use crate::request_id;
use crate::table::{Table, plain};
use crate::views::{propagation, word};

/// Maximum length of a server name.
const NAME_LEN_MAX: usize = 64;

/// The flags for instructions: the client, the server and the key.
#[derive(Debug, Clone, Args)]
pub(super) struct Wanted {
    /// URL of the MCP server to connect to: shows what to paste or open, with the token if it is available
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with_all = ["display_name", "save"])]
    url: String,
    /// Client to connect; default: all
    #[arg(
        long, requires = "url",
        value_parser = PossibleValuesParser::new(client_names()).map(|name| client_by_name(&name))
    )]
    client: Option<ConnectClient>,
    /// Name of the server in the client; default: the host of its URL, with - instead of dots
    #[arg(long, requires = "url", value_name = "NAME", default_value = "", hide_default_value = true)]
    server_name: String,
    /// Key to connect with; default: the newest active one
    #[arg(long, requires = "url", conflicts_with = "create_if_none", default_value = "", hide_default_value = true)]
    key: String,
}

impl Wanted {
    /// Whether instructions are requested.
    pub(super) const fn is_some(&self) -> bool {
        !self.url.is_empty()
    }

    /// Prints the instructions. None if the account has no active key and none is created.
    pub(super) async fn show(
        self,
        session: &Session,
        account: &str,
        create_if_none: bool,
    ) -> Result<Option<Exit>, Error> {
        if session.console.format == Format::Token {
            return Err(Error::Usage(
                "--output token is not available with --url: the token is part of the instructions".into(),
            ));
        }
        if create_if_none && is_closed() {
            return Err(Error::ClosedOutput);
        }
        let answer = ask(session, self.request(account, create_if_none)?).await?;
        if answer.token_source() == TokenSource::NoKey {
            return Ok(None);
        }
        session.console.show(&answer, || table(&answer.instructions)).map_err(|error| match (error, &answer.key) {
            (Error::Output(error), Some(key)) if answer.token_source() == TokenSource::Created => {
                Error::TokenLost { key_id: key.id.clone(), why: "cannot write the output", source: Some(error) }
            }
            (error, _) => error,
        })?;
        propagation::report(answer.propagation.as_ref());
        if session.console.format == Format::Table {
            for instruction in answer.instructions.iter().filter(|instruction| !instruction.warning.is_empty()) {
                note(&format!("{}: {}", name(instruction.client()), instruction.warning));
            }
            note(&about_token(&answer));
        }
        Ok(Some(Exit::Done))
    }

    fn request(self, account: &str, create_if_none: bool) -> Result<PrepareConnectionRequest, Error> {
        let Self { url, client, server_name, key } = self;
        let server_name = if server_name.is_empty() { name_of(&url) } else { server_name };
        // Only the creation of a key is a change. A token that is revealed twice is in the audit log twice.
        let request_id = if create_if_none { request_id::fresh()? } else { String::new() };
        Ok(PrepareConnectionRequest {
            account: account.to_owned(),
            client: client.unwrap_or_default().into(),
            server_name,
            url,
            key_id: key,
            create_if_none,
            request_id,
        })
    }
}

async fn ask(session: &Session, request: PrepareConnectionRequest) -> Result<PrepareConnectionResponse, Error> {
    let rpc = |mut api: Api, request| async move { api.prepare_connection(request).await };
    if !request.create_if_none {
        return session.client.ask(request, rpc).await;
    }
    let answer = session.client.change(request.clone(), rpc).await?;
    if answer.token_source() != TokenSource::Repeated {
        return Ok(answer);
    }
    // The first response was lost. A stored token can be revealed.
    let key_id = answer.key.map(|key| key.id).unwrap_or_default();
    let again = PrepareConnectionRequest {
        key_id: key_id.clone(),
        create_if_none: false,
        request_id: String::new(),
        ..request
    };
    let answer = session.client.ask(again, rpc).await?;
    match answer.token_source() {
        TokenSource::Revealed => Ok(answer),
        _ => Err(Error::TokenLost { key_id, why: "the response with the token was lost", source: None }),
    }
}

/// Derives the name of a server from the host of its URL. The authority validates the URL.
fn name_of(url: &str) -> String {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let letters = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(NAME_LEN_MAX);
    let name = letters.collect::<String>().trim_matches('-').to_owned();
    if name.is_empty() { "mcp".into() } else { name }
}

fn table(instructions: &[ConnectInstruction]) -> Table {
    let mut table = Table::list(&["CLIENT", "WHERE", "WHAT TO PASTE OR OPEN"]);
    for instruction in instructions {
        let settings = on_one_line(&instruction.settings_json);
        let forms = [
            ("sh", &instruction.posix_command),
            ("PowerShell", &instruction.powershell_command),
            ("cmd", &instruction.cmd_command),
            ("link", &instruction.link),
            ("settings", &settings),
            ("connector", &instruction.connector_url),
        ];
        // Each line is a separate row, so that it is easy to find.
        for (place, line) in forms.iter().flat_map(|(place, lines)| lines.lines().map(move |line| (place, line))) {
            table.row(vec![plain(name(instruction.client())), plain(*place), plain(line)]);
        }
    }
    table
}

/// Writes JSON on one line, so that it can be copied as a whole from a table. A text of JSON has no line breaks.
fn on_one_line(json: &str) -> String {
    json.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A note about the token: which key it belongs to, and what to do if it is not filled in.
fn about_token(answer: &PrepareConnectionResponse) -> String {
    let (key, hint) = answer.key.as_ref().map(|key| (&*key.id, &*key.token_hint)).unwrap_or_default();
    let placeholder = &answer.placeholder;
    let replace = format!("put the saved token of key {key}, which begins with {hint}, in place of {placeholder}");
    match answer.token_source() {
        TokenSource::Created => format!("key {key} was created; this is the only time that its token is shown"),
        TokenSource::NotKept => format!("{replace}; if it is lost, issue another one with keyctl keys renew {key}"),
        TokenSource::NotPermitted => {
            format!("{replace}; it is filled in only for callers with the scope tokens.reveal")
        }
        _ => format!("the lines contain the token of key {key}: keep them secret"),
    }
}

/// `CONNECT_CLIENT_CLAUDE_CODE` is `claude-code`.
fn name(client: ConnectClient) -> String {
    word("CONNECT_CLIENT_", client.as_str_name()).replace('_', "-")
}

fn clients() -> impl Iterator<Item = ConnectClient> {
    (1..).map_while(|number| ConnectClient::try_from(number).ok())
}

fn client_names() -> Vec<String> {
    clients().map(name).collect()
}

fn client_by_name(wanted: &str) -> ConnectClient {
    clients().find(|&client| name(client) == wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_unique_name() {
        assert_eq!(client_names(), ["claude-code", "codex", "vs-code", "cursor", "claude-desktop", "chatgpt"]);
        for client in clients() {
            assert_eq!(client_by_name(&name(client)), client);
        }
    }

    #[test]
    fn settings_are_one_row() {
        let settings_json = "{\n  \"mcpServers\": {\n    \"a  b\": {}\n  }\n}".to_owned();
        assert_eq!(on_one_line(&settings_json), r#"{ "mcpServers": { "a  b": {} } }"#);
        assert_eq!(on_one_line(""), "", "a client without settings has no row");
        let shown = table(&[ConnectInstruction { settings_json, ..Default::default() }]).render(false);
        assert_eq!(shown.lines().count(), 2, "the header and a row: {shown}");
    }

    #[test]
    fn the_default_server_name_is_the_host() {
        for (url, name) in [
            ("https://mcp.example.com/mcp?a=b", "mcp-example-com"),
            ("http://127.0.0.1:8080", "127-0-0-1"),
            ("http://[::1]:8080/", "1"),
            ("no URL", "mcp"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
        assert_eq!(name_of(&format!("https://{}.example.com", "a".repeat(80))).len(), NAME_LEN_MAX);
    }
}
