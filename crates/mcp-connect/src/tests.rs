use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::instruction::{self, Form};
use super::shell::Shell;
use super::*;

mod shell_models;

use shell_models::{argv_after_cmd, posix_words, powershell_words};

/// Texts of characters that are special in shells, JSON or URLs. Without control characters: no name and no URL
/// contains them.
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

/// A valid server name.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9][A-Za-z0-9_-]{0,20}"
}

/// A valid URL, normalized as in instructions.
fn url() -> impl Strategy<Value = String> {
    hostile().prop_filter_map("a URL", |rest| {
        Some(Endpoint::new(&format!("https://example.com/{rest}")).ok()?.as_str().to_owned())
    })
}

/// A valid token of another system: any printable ASCII.
fn token() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,12}", "[A-Za-z0-9_$`'~.*?{};=@#,-]{1,12}"]
}

/// The lines for each shell, in the order of `SHELLS`.
fn commands(form: Form) -> [Option<String>; 3] {
    let Form::Command { posix, powershell, cmd } = form else { panic!("a command") };
    [Some(posix), powershell, cmd]
}

/// Splits a line into arguments as a shell and the program that it starts do.
type Read = fn(&str) -> Vec<String>;

const SHELLS: [(Shell, Read); 3] =
    [(Shell::Posix, posix_words), (Shell::PowerShell, powershell_words), (Shell::Cmd, argv_after_cmd)];

/// The arguments that a program receives from each shell's line; on Windows also a program that is a cmd script.
fn words(form: Form) -> Vec<Vec<String>> {
    let [posix, powershell, cmd] = commands(form);
    let mut all = vec![posix_words(&posix.unwrap())];
    if let Some(line) = powershell {
        let words = powershell_words(&line);
        all.push(shell_models::argv(&shell_models::after_script(&shell_models::after_cmd(
            &shell_models::line_of_powershell(&words),
        ))));
        all.push(words);
    }
    if let Some(line) = cmd {
        all.push(shell_models::argv(&shell_models::after_script(&shell_models::after_cmd(&line))));
        all.push(argv_after_cmd(&line));
    }
    all
}

proptest! {
    #[test]
    fn a_quoted_argument_is_read_unchanged(text in hostile()) {
        for (shell, read) in SHELLS {
            prop_assert_eq!(read(&shell.quote(&text)), [text.clone()]);
        }
    }

    #[test]
    fn quoted_arguments_are_read_separately(first in hostile(), second in hostile()) {
        for (shell, read) in SHELLS {
            let line = format!("{} {}", shell.quote(&first), shell.quote(&second));
            prop_assert_eq!(read(&line), [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn claude_code_gets_name_url_and_header(name in name(), url in url(), token in token()) {
        let header = format!("Authorization: Bearer {token}");
        let expected = ["claude", "mcp", "add", "--transport", "http", &name, &url, "--header", &header];
        for words in words(instruction::claude_code(&name, &url, &token)) {
            prop_assert_eq!(words, expected);
        }
    }

    #[test]
    fn codex_gets_name_and_url_and_the_variable_the_token(name in name(), url in url(), token in token()) {
        let lines = commands(instruction::codex(&name, &url, &token)).map(|lines| {
            lines.map(|lines| lines.split_once('\n').map(|(set, add)| (set.to_owned(), add.to_owned())).unwrap())
        });
        let lines = SHELLS.into_iter().zip(lines).filter_map(|(shell, lines)| Some((shell, lines?)));
        for ((shell, read), (set, add)) in lines {
            let words = read(&add);
            prop_assert_eq!(&words[..7], ["codex", "mcp", "add", &name, "--url", &url, "--bearer-token-env-var"]);
            prop_assert_eq!(words.len(), 8);
            let variable = &words[7];
            let is_letter = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit();
            prop_assert!(variable.ends_with("_MCP_TOKEN") && variable.chars().all(is_letter), "{}", variable);
            prop_assert!(!variable.starts_with(|c: char| c.is_ascii_digit()), "{}", variable);
            prop_assert_eq!(shell_models::value_set(shell, &set, variable), &*token);
        }
    }

    /// Where cmd would interpret a character, no line is given for it, and the warning says so.
    #[test]
    fn no_line_contains_a_character_that_cmd_interprets(url in url(), token in token()) {
        let is_special_in_cmd = |text: &str| text.contains(|c| "\"%^&|<>()!\\".contains(c));
        for client in [Client::ClaudeCode, Client::Codex] {
            let endpoint = Endpoint::new(&url).unwrap();
            let instruction = Instruction::new(client, &ServerName::new("acme").unwrap(), &endpoint, &token);
            let Some(form) = instruction.form else { continue };
            let [_, powershell, cmd] = commands(form);
            prop_assert_eq!(cmd.is_some(), !is_special_in_cmd(&token));
            prop_assert_eq!(powershell.is_some(), !is_special_in_cmd(&token) && !is_special_in_cmd(endpoint.as_str()));
            prop_assert_eq!(powershell.is_some(), !instruction.warning.contains("cmd"), "{}", instruction.warning);
        }
    }

    #[test]
    fn vs_code_gets_json(name in hostile(), url in hostile(), token in hostile()) {
        let expected = json!({
            "name": name, "type": "http", "url": url, "headers": {"Authorization": format!("Bearer {token}")},
        });
        let [posix, powershell, cmd] = commands(instruction::vs_code(&name, &url, &token)).map(Option::unwrap);
        // PowerShell passes the argument unchanged, and the program splits it by its own rules.
        let powershell = shell_models::argv(&powershell_words(&powershell).join(" "));
        for words in [posix_words(&posix), powershell, argv_after_cmd(&cmd)] {
            prop_assert_eq!(&words[..2], ["code", "--add-mcp"]);
            prop_assert_eq!(words.len(), 3);
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&words[2]).unwrap(), &expected);
            // Characters that a cmd script would interpret.
            prop_assert!(!words[2].contains(|c: char| " %&|<>^()!'".contains(c)), "{}", words[2]);
        }
    }

    #[test]
    fn cursor_gets_a_link(name in hostile(), url in hostile(), token in hostile()) {
        let Form::Link(link) = instruction::cursor(&name, &url, &token) else { panic!("a link") };
        let link = Url::parse(&link).unwrap();
        let parts = (link.scheme(), link.host_str(), link.path());
        prop_assert_eq!(parts, ("cursor", Some("anysphere.cursor-deeplink"), "/mcp/install"));
        let pairs: Vec<(String, String)> = link.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs.len(), 2);
        prop_assert_eq!((&pairs[0].0, &pairs[0].1, &pairs[1].0), (&"name".to_owned(), &name, &"config".to_owned()));
        let config: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&pairs[1].1).unwrap()).unwrap();
        prop_assert_eq!(config, json!({"url": url, "headers": {"Authorization": format!("Bearer {token}")}}));
    }

    /// An accepted URL is graphic ASCII, and it keeps its query parameters with the token added.
    #[test]
    fn an_accepted_url_is_graphic_ascii(rest in hostile()) {
        if let Ok(endpoint) = Endpoint::new(&format!("https://example.com/{rest}")) {
            prop_assert!(endpoint.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'"'), "{}", endpoint.as_str());
            let with = Url::parse(&endpoint.with_token("token")).unwrap();
            prop_assert_eq!(with.query_pairs().last().unwrap(), ("api_key".into(), "token".into()));
            prop_assert_eq!(with.query_pairs().filter(|(name, _)| name == "api_key").count(), 1);
        }
    }

    /// The model of a POSIX shell agrees with sh.
    #[test]
    fn sh_reads_a_quoted_argument_as_the_model_does(text in hostile()) {
        let line = format!("printf %s {}", Shell::Posix.quote(&text));
        let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
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
fn the_forms_match_the_documentation_of_the_clients() {
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
fn a_client_that_expands_variables_gets_no_token_with_a_variable() {
    for client in Client::ALL {
        let expands = matches!(client, Client::ClaudeCode | Client::VsCode | Client::Cursor);
        let Instruction { form, warning, .. } = example(client, URL, "an-old-${HOME}-token");
        assert_eq!((form.is_none(), warning.contains("${")), (expands, expands), "{warning}");
        assert!(example(client, URL, "an-old-$HOME-token").form.is_some());
    }
}

#[test]
fn a_token_that_others_could_read_is_warned_of() {
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
fn a_server_name_is_valid_in_every_client() {
    for good in ["a", "0", "My-Server_2", &"x".repeat(64)] {
        assert!(ServerName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "_a", "a b", "a\n", "a\0", "é", "a.b", "$(x)", "workspace", &"x".repeat(65)] {
        assert!(ServerName::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn cursor_gets_settings_where_somebody_has_to_put_the_token_in() {
    let Instruction { form: Some(Form::Settings(settings)), warning, .. } = example(Client::Cursor, URL, PLACEHOLDER)
    else {
        panic!("settings")
    };
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let server = json!({"url": URL, "headers": {"Authorization": "Bearer YOUR_API_KEY"}});
    assert_eq!(settings, json!({"mcpServers": {"acme": server}}));
    assert!(warning.contains("~/.cursor/mcp.json"), "{warning}");
    assert!(matches!(example(Client::Cursor, URL, TOKEN).form, Some(Form::Link(_))));
}
