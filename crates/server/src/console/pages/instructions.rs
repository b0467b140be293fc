//! Instructions that connect AI clients, as pages show them.

use key_authority_proto::v1::{ConnectClient, ConnectInstruction};

use crate::console::failure::sentence;

/// The clients, as the menu names them.
const CLIENTS: [(ConnectClient, &str, &str); 6] = [
    (ConnectClient::ClaudeCode, "claude-code", "Claude Code"),
    (ConnectClient::Codex, "codex", "Codex"),
    (ConnectClient::VsCode, "vs-code", "VS Code"),
    (ConnectClient::Cursor, "cursor", "Cursor"),
    (ConnectClient::ClaudeDesktop, "claude-desktop", "Claude Desktop"),
    (ConnectClient::Chatgpt, "chatgpt", "ChatGPT"),
];

/// What to do with the URL of a connector in Claude.
const CLAUDE_STEPS: [&str; 4] = [
    "In Claude, open Settings (in newer versions: Customize), then Connectors.",
    "Choose “Add custom connector”. On Team and Enterprise plans, an owner has to add it.",
    "Enter a name, and paste the URL below as the URL of the server. Leave the other fields empty.",
    "Choose “Add”. In a conversation, check that the connector is switched on.",
];

/// The same in ChatGPT.
const CHATGPT_STEPS: [&str; 4] = [
    "In ChatGPT on the web, open Settings, then Apps (in older versions: Connectors).",
    "Under “Advanced settings”, switch on developer mode. In a workspace, an administrator may have to allow it.",
    "Choose “Create”. Enter a name, and paste the URL below as the URL of the MCP server.",
    "Choose no authentication, since the URL contains the key, and create the app.",
];

/// An entry of the menu of clients.
pub(super) struct ClientChoice {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) is_selected: bool,
}

/// Returns the menu of clients.
pub(super) fn client_choices(selected: &str) -> Vec<ClientChoice> {
    let choice = |(_, value, label)| ClientChoice { value, label, is_selected: value == selected };
    CLIENTS.into_iter().map(choice).collect()
}

/// Returns the client that a form chose; the first one for an unknown choice.
pub(super) fn chosen_client(value: &str) -> ConnectClient {
    CLIENTS.into_iter().find(|(_, known, _)| *known == value).map_or(ConnectClient::ClaudeCode, |(client, _, _)| client)
}

/// Something to copy.
pub(super) struct Snippet {
    /// Unique on the page.
    pub(super) id: String,
    pub(super) label: String,
    pub(super) text: String,
    /// Whether it has several lines.
    pub(super) rows: usize,
}

/// The instruction for one client.
pub(super) struct InstructionView {
    pub(super) client: &'static str,
    /// Where to paste the URL of a connector; empty for the other clients.
    pub(super) steps: Vec<&'static str>,
    pub(super) snippets: Vec<Snippet>,
    /// A link to open; empty for none.
    pub(super) link: String,
    pub(super) warnings: Vec<String>,
    /// What contains the token, in a word; empty for nothing.
    carrier: &'static str,
}

impl InstructionView {
    pub(super) fn new(instruction: &ConnectInstruction) -> Self {
        let known = CLIENTS.into_iter().find(|(client, _, _)| *client == instruction.client());
        let (name, client) = known.map_or(("other", "Other"), |(_, value, label)| (value, label));
        let texts = [
            ("Terminal (sh, bash, zsh)", "posix", &instruction.posix_command),
            ("PowerShell", "powershell", &instruction.powershell_command),
            ("Windows command prompt", "cmd", &instruction.cmd_command),
            ("Link", "link", &instruction.link),
            ("Settings (mcp.json)", "settings", &instruction.settings_json),
            ("URL of the connector", "url", &instruction.connector_url),
        ];
        let set = texts.into_iter().filter(|(_, _, text)| !text.is_empty());
        let snippets = set.map(|(label, kind, text)| Snippet {
            id: format!("{name}-{kind}"),
            label: label.to_owned(),
            text: text.clone(),
            rows: text.lines().count().max(text.len().div_ceil(56)).clamp(1, 8),
        });
        let warnings = instruction.warning.split("; ").filter(|warning| !warning.is_empty()).map(sentence);
        let carriers =
            [("command", &instruction.posix_command), ("link", &instruction.link), ("URL", &instruction.connector_url)];
        Self {
            client,
            steps: match instruction.client() {
                ConnectClient::ClaudeDesktop => CLAUDE_STEPS.to_vec(),
                ConnectClient::Chatgpt => CHATGPT_STEPS.to_vec(),
                _ => Vec::new(),
            },
            snippets: snippets.collect(),
            link: instruction.link.clone(),
            warnings: warnings.collect(),
            carrier: carriers.into_iter().find(|(_, text)| !text.is_empty()).map_or("", |(word, _)| word),
        }
    }

    /// Says that the instruction contains a token; empty if it does not.
    pub(super) fn contains(&self, token: &str) -> String {
        if self.carrier.is_empty() { String::new() } else { format!("The {} below contains {token}.", self.carrier) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_words() {
        for number in 1..=6 {
            let client = ConnectClient::try_from(number).unwrap();
            let (_, value, _) = CLIENTS.into_iter().find(|(known, _, _)| *known == client).unwrap();
            assert_eq!(chosen_client(value), client);
        }
        let instruction = ConnectInstruction {
            client: ConnectClient::Codex.into(),
            posix_command: "export A=b\ncodex mcp add".into(),
            warning: "one thing; another".into(),
            ..Default::default()
        };
        let view = InstructionView::new(&instruction);
        assert_eq!((view.client, view.snippets.len(), view.snippets[0].rows), ("Codex", 1, 2));
        assert_eq!(view.warnings, ["One thing.", "Another."]);
        assert_eq!((view.contains("it"), view.steps.len()), ("The command below contains it.".to_owned(), 0));
        let refused = ConnectInstruction { client: ConnectClient::Cursor.into(), ..Default::default() };
        assert_eq!(InstructionView::new(&refused).contains("it"), "");
    }
}
