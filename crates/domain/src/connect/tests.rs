use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::client::{self, Form};
use super::shell::Shell;
use super::*;

mod reading;

use reading::{argv_after_cmd, posix_words, powershell_words};

/// Texts made of what shells, JSON and URLs give a meaning to. Without control characters, which no name and no URL has.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "'", "\"", "\\", "\\\\", " ", "$(x)", "${x}", "`x`", "%PATH%", "%", "!x!", "^", "&", "|", "<", ">", "(",
            ")", ";", "*", "?", "~", "#", "{", "}", "@", ",", "=", "‘", "’", "‚", "‛", "“", "”", "–", "--", "-x",
            "\\\"", "é", "🔑", "a",
        ])
        .prop_map(str::to_owned),
        "[^\\p{Cc}]{0,4}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// What is taken for the name of a server.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9][A-Za-z0-9_-]{0,20}"
}

/// What is taken for an address, as instructions have it.
fn url() -> impl Strategy<Value = String> {
    hostile().prop_filter_map("an address", |rest| {
        Some(Endpoint::new(&format!("https://example.com/{rest}")).ok()?.as_str().to_owned())
    })
}

/// What is taken for a token of another system: any printable ASCII.
fn token() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,12}", "[A-Za-z0-9_$`'~.*?{};=@#,-]{1,12}"]
}

/// The lines for each shell that there are, in the order of `SHELLS`.
fn commands(form: Form) -> [Option<String>; 3] {
    let Form::Command { posix, powershell, cmd } = form else { panic!("a command") };
    [Some(posix), powershell, cmd]
}

/// Takes a line apart as a shell and the program that it starts do.
type Read = fn(&str) -> Vec<String>;

const SHELLS: [(Shell, Read); 3] =
    [(Shell::Posix, posix_words), (Shell::PowerShell, powershell_words), (Shell::Cmd, argv_after_cmd)];

/// The words that a program gets by each shell's line; on Windows also one that is a script of cmd.
fn words(form: Form) -> Vec<Vec<String>> {
    let [posix, powershell, cmd] = commands(form);
    let mut all = vec![posix_words(&posix.unwrap())];
    if let Some(line) = powershell {
        let words = powershell_words(&line);
        all.push(reading::argv(&reading::after_script(&reading::after_cmd(&reading::line_of_powershell(&words)))));
        all.push(words);
    }
    if let Some(line) = cmd {
        all.push(reading::argv(&reading::after_script(&reading::after_cmd(&line))));
        all.push(argv_after_cmd(&line));
    }
    all
}

proptest! {
    #[test]
    fn an_argument_is_read_as_it_was(text in hostile()) {
        for (shell, read) in SHELLS {
            prop_assert_eq!(read(&shell.quote(&text)), [text.clone()]);
        }
    }

    #[test]
    fn arguments_stay_apart(first in hostile(), second in hostile()) {
        for (shell, read) in SHELLS {
            let line = format!("{} {}", shell.quote(&first), shell.quote(&second));
            prop_assert_eq!(read(&line), [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn claude_code_gets_name_url_and_header(name in name(), url in url(), token in token()) {
        let header = format!("Authorization: Bearer {token}");
        let expected = ["claude", "mcp", "add", "--transport", "http", &name, &url, "--header", &header];
        for words in words(client::claude_code(&name, &url, &token)) {
            prop_assert_eq!(words, expected);
        }
    }

    #[test]
    fn codex_gets_name_and_url_and_the_variable_the_token(name in name(), url in url(), token in token()) {
        let lines = commands(client::codex(&name, &url, &token)).map(|lines| {
            lines.map(|lines| lines.split_once('\n').map(|(set, add)| (set.to_owned(), add.to_owned())).unwrap())
        });
        for ((shell, read), (set, add)) in SHELLS.into_iter().zip(lines).filter_map(|(shell, lines)| Some((shell, lines?))) {
            let words = read(&add);
            prop_assert_eq!(&words[..7], ["codex", "mcp", "add", &name, "--url", &url, "--bearer-token-env-var"]);
            prop_assert_eq!(words.len(), 8);
            let variable = &words[7];
            let is_letter = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit();
            prop_assert!(variable.ends_with("_MCP_TOKEN") && variable.chars().all(is_letter), "{}", variable);
            prop_assert!(!variable.starts_with(|c: char| c.is_ascii_digit()), "{}", variable);
            prop_assert_eq!(reading::value_set(shell, &set, variable), &*token);
        }
    }

    /// Where cmd would read more than text, there is no line for it, and it is told.
    #[test]
    fn what_cmd_would_take_for_its_own_is_not_given_to_it(url in url(), token in token()) {
        let is_of_cmd = |text: &str| text.contains(|c| "\"%^&|<>()!\\".contains(c));
        for client in [Client::ClaudeCode, Client::Codex] {
            let endpoint = Endpoint::new(&url).unwrap();
            let instruction = Instruction::new(client, &ServerName::new("acme").unwrap(), &endpoint, &token);
            let Some(form) = instruction.form else { continue };
            let [_, powershell, cmd] = commands(form);
            prop_assert_eq!(cmd.is_some(), !is_of_cmd(&token));
            prop_assert_eq!(powershell.is_some(), !is_of_cmd(&token) && !is_of_cmd(endpoint.as_str()));
            prop_assert_eq!(powershell.is_some(), !instruction.warning.contains("cmd"), "{}", instruction.warning);
        }
    }

    #[test]
    fn vs_code_gets_json(name in hostile(), url in hostile(), token in hostile()) {
        let expected = json!({
            "name": name, "type": "http", "url": url, "headers": {"Authorization": format!("Bearer {token}")},
        });
        let [posix, powershell, cmd] = commands(client::vs_code(&name, &url, &token)).map(Option::unwrap);
        // PowerShell hands the word on as it is, and the program takes it apart by its own rules.
        let powershell = reading::argv(&powershell_words(&powershell).join(" "));
        for words in [posix_words(&posix), powershell, argv_after_cmd(&cmd)] {
            prop_assert_eq!(&words[..2], ["code", "--add-mcp"]);
            prop_assert_eq!(words.len(), 3);
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&words[2]).unwrap(), &expected);
            // What a script of cmd would read once more.
            prop_assert!(!words[2].contains(|c: char| " %&|<>^()!'".contains(c)), "{}", words[2]);
        }
    }

    #[test]
    fn cursor_gets_a_link(name in hostile(), url in hostile(), token in hostile()) {
        let Form::Link(link) = client::cursor(&name, &url, &token) else { panic!("a link") };
        let link = Url::parse(&link).unwrap();
        prop_assert_eq!((link.scheme(), link.host_str(), link.path()), ("cursor", Some("anysphere.cursor-deeplink"), "/mcp/install"));
        let pairs: Vec<(String, String)> = link.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs.len(), 2);
        prop_assert_eq!((&pairs[0].0, &pairs[0].1, &pairs[1].0), (&"name".to_owned(), &name, &"config".to_owned()));
        let config: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&pairs[1].1).unwrap()).unwrap();
        prop_assert_eq!(config, json!({"url": url, "headers": {"Authorization": format!("Bearer {token}")}}));
    }

    /// Whatever is taken for an address is one, and stays the same one in every form.
    #[test]
    fn an_address_that_is_taken_is_plain_text_without_spaces(rest in hostile()) {
        if let Ok(endpoint) = Endpoint::new(&format!("https://example.com/{rest}")) {
            prop_assert!(endpoint.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'"'), "{}", endpoint.as_str());
            let with = Url::parse(&endpoint.with_token("token")).unwrap();
            prop_assert_eq!(with.query_pairs().last().unwrap(), ("api_key".into(), "token".into()));
            prop_assert_eq!(with.query_pairs().filter(|(name, _)| name == "api_key").count(), 1);
        }
    }

    /// The model of a POSIX shell is no other than the shell.
    #[test]
    fn sh_reads_it_as_the_model_does(text in hostile()) {
        let output = Command::new("sh").arg("-c").arg(format!("printf %s {}", Shell::Posix.quote(&text))).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        prop_assert!(output.status.success() && output.stderr.is_empty());
    }
}

fn example(client: Client, url: &str, token: &str) -> Instruction {
    Instruction::new(client, &ServerName::new("acme").unwrap(), &Endpoint::new(url).unwrap(), token)
}

const URL: &str = "https://mcp.example.com/mcp";
const TOKEN: &str = "acme_0000";

#[test]
fn the_forms_are_those_that_the_clients_document() {
    let form = |client| example(client, URL, TOKEN).form.unwrap();
    let line = "claude mcp add --transport http acme https://mcp.example.com/mcp --header";
    assert_eq!(
        commands(form(Client::ClaudeCode)).map(Option::unwrap),
        ["'", "'", "\""].map(|quote| format!("{line} {quote}Authorization: Bearer acme_0000{quote}"))
    );
    let add = "codex mcp add acme --url https://mcp.example.com/mcp --bearer-token-env-var ACME_MCP_TOKEN";
    assert_eq!(
        commands(form(Client::Codex)).map(Option::unwrap),
        ["export ACME_MCP_TOKEN=acme_0000", "$env:ACME_MCP_TOKEN = 'acme_0000'", "set \"ACME_MCP_TOKEN=acme_0000\"",]
            .map(|set| format!("{set}\n{add}"))
    );
    assert_eq!(
        commands(form(Client::VsCode))[0].as_deref().unwrap(),
        r#"code --add-mcp '{"name":"acme","type":"http","url":"https://mcp.example.com/mcp","headers":{"Authorization":"Bearer\u0020acme_0000"}}'"#
    );
    for client in [Client::ClaudeDesktop, Client::ChatGpt] {
        let Form::ConnectorUrl(connector) = form(client) else { panic!("a URL") };
        assert_eq!(connector, "https://mcp.example.com/mcp?api_key=acme_0000");
    }
}

#[test]
fn a_client_that_fills_in_variables_gets_no_token_with_one() {
    for client in Client::ALL {
        let fills_in = matches!(client, Client::ClaudeCode | Client::VsCode | Client::Cursor);
        let Instruction { form, warning, .. } = example(client, URL, "an-old-${HOME}-token");
        assert_eq!((form.is_none(), warning.contains("${")), (fills_in, fills_in), "{warning}");
        assert!(example(client, URL, "an-old-$HOME-token").form.is_some());
    }
}

#[test]
fn a_warning_is_given_where_the_token_could_be_read() {
    for client in Client::ALL {
        let is_in_url = matches!(client, Client::ClaudeDesktop | Client::ChatGpt);
        let warning = |url| example(client, url, TOKEN).warning;
        assert_eq!(warning(URL).contains("logs"), is_in_url, "{}", warning(URL));
        assert!(!warning(URL).contains("plain http"));
        assert!(warning("http://mcp.example.com").contains("plain http"));
        assert!(!warning("http://127.0.0.1").contains("plain http"));
    }
}

#[test]
fn a_name_is_what_every_client_takes() {
    for good in ["a", "0", "My-Server_2", &"x".repeat(64)] {
        assert!(ServerName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "_a", "a b", "a\n", "a\0", "é", "a.b", "$(x)", "workspace", &"x".repeat(65)] {
        assert!(ServerName::new(bad).is_err(), "{bad:?}");
    }
}
