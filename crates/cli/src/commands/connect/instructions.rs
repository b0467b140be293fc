//! How a client is connected to an MCP server: the lines to paste and the links to open, as the authority writes them.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use key_authority_proto::v1::{
    ConnectClient, ConnectInstruction, PrepareConnectionRequest, PrepareConnectionResponse, TokenSource,
};
use tonic::transport::Uri;

use super::Session;
use crate::client::Api;
use crate::console::{Format, note};
use crate::errors::{Error, Exit};
use crate::request_id;
use crate::table::{Table, plain};
use crate::views::{propagation, word};

/// The longest name of a server.
const NAME_LEN_MAX: usize = 64;

/// Which client is to be connected to which server, and with which key.
#[derive(Debug, Clone, Args)]
pub(super) struct Wanted {
    /// URL of the MCP server to connect to: tells what to paste or open for that, with the token filled in where it can be
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with_all = ["display_name", "save"])]
    url: String,
    /// Client to connect; none: all of them
    #[arg(long, requires = "url", value_parser = PossibleValuesParser::new(client_names()).map(|name| named(&name)))]
    client: Option<ConnectClient>,
    /// What the client is to call the server; none: the host of its URL, with - for its dots
    #[arg(long, requires = "url", value_name = "NAME", default_value = "", hide_default_value = true)]
    server_name: String,
    /// Key to connect with; none: the newest active one
    #[arg(long, requires = "url", conflicts_with = "create_if_none", default_value = "", hide_default_value = true)]
    key: String,
}

impl Wanted {
    /// Whether instructions are wanted at all.
    pub(super) const fn is_some(&self) -> bool {
        !self.url.is_empty()
    }

    /// Shows them; None when the account has no active key and none is to be created.
    pub(super) async fn show(
        self,
        session: &Session,
        account: &str,
        create_if_none: bool,
    ) -> Result<Option<Exit>, Error> {
        if session.console.format == Format::Token {
            return Err(Error::Usage("with --url the token stands in what is shown, never alone".into()));
        }
        let answer = ask(session, self.request(account, create_if_none)?).await?;
        if answer.token_source() == TokenSource::NoKey {
            return Ok(None);
        }
        session.console.show(&answer, || table(&answer.instructions))?;
        propagation::tell(answer.propagation.as_ref());
        if session.console.format == Format::Table {
            for told in answer.instructions.iter().filter(|told| !told.warning.is_empty()) {
                note(&format!("{}: {}", name(told.client()), told.warning));
            }
            note(&about_token(&answer));
        }
        Ok(Some(Exit::Done))
    }

    fn request(self, account: &str, create_if_none: bool) -> Result<PrepareConnectionRequest, Error> {
        let Self { url, client, server_name, key } = self;
        let server_name = if server_name.is_empty() { name_of(&url) } else { server_name };
        // Only what makes a key is a change; a token that is shown twice is in the audit log twice.
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
    // The first answer was lost on its way. A token that is kept can be shown again.
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
        _ => Err(Error::TokenLost { key_id, why: "the answer that showed it did not arrive", source: None }),
    }
}

/// The host of a URL as the name of a server. Whether it is a good URL is the authority's to say.
fn name_of(url: &str) -> String {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let letters = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(NAME_LEN_MAX);
    let name = letters.collect::<String>().trim_matches('-').to_owned();
    if name.is_empty() { "mcp".into() } else { name }
}

fn table(instructions: &[ConnectInstruction]) -> Table {
    let mut table = Table::list(&["CLIENT", "WHERE", "WHAT TO PASTE OR OPEN"]);
    for told in instructions {
        let forms = [
            ("sh", &told.posix_command),
            ("PowerShell", &told.powershell_command),
            ("cmd", &told.cmd_command),
            ("link", &told.link),
            ("connector", &told.connector_url),
        ];
        // Each line is a row of its own, so that none has to be searched for among others.
        for (place, line) in forms.iter().flat_map(|(place, lines)| lines.lines().map(move |line| (place, line))) {
            table.row(vec![plain(name(told.client())), plain(*place), plain(line)]);
        }
    }
    table
}

/// Whose token it is, and what to do where it is not filled in.
fn about_token(answer: &PrepareConnectionResponse) -> String {
    let (key, hint) = answer.key.as_ref().map(|key| (&*key.id, &*key.token_hint)).unwrap_or_default();
    let placeholder = &answer.placeholder;
    let replace = format!("put the saved token of key {key}, which begins with {hint}, in place of {placeholder}");
    match answer.token_source() {
        TokenSource::Created => format!("key {key} was created; this is the only time that its token is shown"),
        TokenSource::NotKept => format!("{replace}; if it is lost, keyctl keys renew {key} gives the key another"),
        TokenSource::NotPermitted => format!("{replace}; only a caller with the scope tokens.reveal has it filled in"),
        _ => format!("the token is that of key {key}: whoever reads these lines can use it"),
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

fn named(wanted: &str) -> ConnectClient {
    clients().find(|&client| name(client) == wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_name_of_its_own() {
        assert_eq!(client_names(), ["claude-code", "codex", "vs-code", "cursor", "claude-desktop", "chatgpt"]);
        for client in clients() {
            assert_eq!(named(&name(client)), client);
        }
    }

    #[test]
    fn a_server_is_called_as_its_host() {
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
