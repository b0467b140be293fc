//! Clients that others wrote: grpcurl, gRPC for Python with stubs made from `proto/` alone, Connect for Node, the linter of
//! `OpenAPI` documents, and the AI agents that instructions are for.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "clients/agents.rs"]
mod agents;
#[path = "clients/connect.rs"]
mod connect;
#[path = "clients/server.rs"]
mod server;

use std::process::{Command, Output, Stdio};

use agents::{Home, McpServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use server::{Server, tools, workspace};

const SERVICE: &str = "keyauthority.v1.KeyAuthority";

/// What a program that ended had to say.
struct Ended {
    is_success: bool,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { is_success: status.success(), stdout: text(stdout), stderr: text(stderr) }
}

/// `grpcurl` as a user with the root token types it.
struct Grpcurl {
    server: Server,
    authorization: String,
}

impl Grpcurl {
    fn start() -> Self {
        let server = Server::start();
        let token = std::fs::read_to_string(&server.root_token_file).unwrap();
        Self { server, authorization: format!("authorization: Bearer {}", token.trim()) }
    }

    fn run(&self, flags: &[&str], words: &[&str]) -> Ended {
        let mut command = Command::new(tools().join("grpcurl"));
        run(command.args(["-plaintext", "-max-time", "30"]).args(flags).arg(&self.server.address).args(words))
    }

    /// The output of a subcommand.
    fn output(&self, words: &[&str]) -> String {
        let ended = self.run(&[], words);
        assert!(ended.is_success, "{words:?}:\n{}", ended.stderr);
        ended.stdout
    }

    fn try_call(&self, rpc: &str, request: &Value) -> Ended {
        self.run(&["-H", &self.authorization, "-d", &request.to_string()], &[&format!("{SERVICE}/{rpc}")])
    }

    /// The answer to a call that succeeds.
    fn call(&self, rpc: &str, request: &Value) -> Value {
        let ended = self.try_call(rpc, request);
        assert!(ended.is_success, "{rpc}:\n{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

/// A token of another system, with all that has a meaning to some shell. (`${NAME}` is not in it: Claude Code itself takes
/// that for a variable.)
const HOSTILE_TOKEN: &str = r#"it's"$HOME`exit`$(exit)&%PATH%^|<a>b;\c'!#~*?{},[]=@:-"#;

impl Grpcurl {
    /// How `client` is connected to `url`, which holds the token of the account's key.
    fn instruction(&self, account: &str, client: &str, url: &str) -> Value {
        let request = json!({"account": account, "client": client, "serverName": "acme-prod", "url": url});
        let answer = self.call("PrepareConnection", &request);
        assert_eq!(answer["tokenSource"], "TOKEN_SOURCE_REVEALED", "{answer}");
        answer["instructions"][0].clone()
    }

    /// Accounts whose tokens are kept: one with a token of ours, one with a hostile one.
    fn accounts(&self) -> [(&'static str, String); 2] {
        for account in ["acme", "taken-over"] {
            self.call("CreateAccount", &json!({"account": {"id": account, "policy": {"recoverable": true}}}));
        }
        let created = self.call("CreateKey", &json!({"account": "acme"}));
        self.call("ImportKeys", &json!({"account": "taken-over", "keys": [{"token": HOSTILE_TOKEN}]}));
        [("acme", created["token"].as_str().unwrap().to_owned()), ("taken-over", HOSTILE_TOKEN.to_owned())]
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn grpcurl_lists_the_services_and_describes_them_with_their_comments() {
        let grpcurl = Grpcurl::start();
        let services = grpcurl.output(&["list"]);
        assert!(services.lines().any(|line| line == SERVICE), "{services}");
        assert!(services.lines().any(|line| line == "grpc.health.v1.Health"), "{services}");
        let methods = grpcurl.output(&["list", SERVICE]);
        assert!(methods.lines().any(|line| line == format!("{SERVICE}.RevokeKey")), "{methods}");

        for (symbol, declaration, comment) in [
            (SERVICE, "rpc RevokeKey ", "  // Ends a key for good."),
            ("keyauthority.v1.Key", "string token_hint = 6 ", "  // How to recognise the newest token"),
            ("keyauthority.v1.Verdict", "VERDICT_REVOKED = 5;", "  // The key is revoked, for good."),
        ] {
            let described = grpcurl.output(&["describe", symbol]);
            assert!(described.contains(declaration), "{described}");
            assert!(described.contains(comment), "comments are shown: {described}");
        }
    }

    #[test]
    fn grpcurl_goes_the_way_of_a_key() {
        let grpcurl = Grpcurl::start();
        let account = json!({"id": "acme", "displayName": "Acme", "policy": {"tokenPrefix": "acme_"}});
        let created = grpcurl.call("CreateAccount", &json!({"account": account}));
        assert_eq!(created["account"]["state"], "ACCOUNT_STATE_ACTIVE");

        let created = grpcurl.call("CreateKey", &json!({"account": "acme", "keyId": "ci", "scopes": ["deploy"]}));
        assert_eq!(created["key"]["id"], "ci");
        assert_eq!(created["key"]["state"], "KEY_STATE_ACTIVE");
        assert_eq!(created["propagation"]["state"], "PROPAGATION_STATE_CONFIRMED");
        let question = json!({"token": created["token"], "scopes": ["deploy"]});
        let answer = grpcurl.call("Verify", &question);
        assert_eq!((&answer["verdict"], &answer["keyId"]), (&json!("VERDICT_VALID"), &json!("ci")));

        let revoked = grpcurl.call("RevokeKey", &json!({"keyId": "ci", "reason": "lost"}));
        assert_eq!(revoked["key"]["state"], "KEY_STATE_REVOKED");
        assert_eq!(revoked["propagation"]["state"], "PROPAGATION_STATE_CONFIRMED");
        assert_eq!(grpcurl.call("Verify", &question)["verdict"], "VERDICT_REVOKED");
    }

    #[test]
    fn grpcurl_shows_the_details_of_an_error() {
        let grpcurl = Grpcurl::start();
        let ended = grpcurl.try_call("CreateKey", &json!({"account": "nobody's", "allowedNetworks": ["192.0.2.1/24"]}));
        assert!(!ended.is_success);
        // Each detail on a line of its own, decoded by what reflection tells of its type.
        let details: Vec<Value> =
            ended.stderr.lines().filter_map(|line| line.split_once(")\t")?.1.parse().ok()).collect();
        let [info, request] = &details[..] else { panic!("two details: {}", ended.stderr) };
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!((&info["reason"], &info["domain"]), (&json!("FIELD_INVALID"), &json!("keyauthority")));
        assert_eq!(request["@type"], "type.googleapis.com/google.rpc.BadRequest");
        let fields: Vec<&Value> =
            request["fieldViolations"].as_array().unwrap().iter().map(|violation| &violation["field"]).collect();
        assert_eq!(fields, ["account", "allowed_networks[0]"]);
        assert!(ended.stderr.contains("Code: InvalidArgument"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("@value") && !ended.stderr.contains("@error"), "not base64: {}", ended.stderr);
    }

    #[test]
    fn a_python_client_made_from_the_proto_files_alone_works() {
        let server = Server::start();
        let stubs = tempfile::tempdir_in(server.folder()).unwrap();
        let workspace = workspace();
        let ended = run(Command::new(tools().join("python"))
            .arg("-B")
            .arg(workspace.join("crates/server/tests/clients/client.py"))
            .args([&server.address, server.root_token_file.to_str().unwrap()])
            .args([&workspace.join("proto"), stubs.path()]));
        assert!(ended.is_success, "the steps that it made:\n{}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.ends_with("done\n"), "{}", ended.stdout);
    }

    #[test]
    fn claude_code_is_connected_by_its_command() {
        let (grpcurl, mcp) = (Grpcurl::start(), McpServer::start());
        for (account, token) in grpcurl.accounts() {
            let told = grpcurl.instruction(account, "CONNECT_CLIENT_CLAUDE_CODE", &mcp.url);
            let home = Home::new();
            home.sh(told["posixCommand"].as_str().unwrap());
            // It lists its servers and asks each, with what it was told to send.
            let listed = home.sh("claude mcp list");
            assert!(listed.contains(&format!("acme-prod: {} (HTTP)", mcp.url.replace('$', "%24"))), "{listed}");
            let heard = mcp.heard();
            assert!(heard.contains(&format!("Authorization: Bearer {token}\n")), "{heard}");
        }
    }

    #[test]
    fn codex_is_connected_by_its_commands() {
        let (grpcurl, mcp) = (Grpcurl::start(), McpServer::start());
        for (account, token) in grpcurl.accounts() {
            let told = grpcurl.instruction(account, "CONNECT_CLIENT_CODEX", &mcp.url);
            let commands = told["posixCommand"].as_str().unwrap();
            // One shell, so that the variable is there when Codex is started.
            let lines = format!("{{\n{commands}\n}} >&2\ncodex mcp list --json\nprintenv ACME_PROD_MCP_TOKEN");
            let output = Home::new().sh(&lines);
            let (listed, variable) = output.trim_end_matches('\n').rsplit_once('\n').unwrap();
            let listed: Value = serde_json::from_str(listed).unwrap();
            let (transport, url) = (&listed[0]["transport"], mcp.url.replace('$', "%24"));
            assert_eq!((&listed[0]["name"], &transport["url"]), (&json!("acme-prod"), &json!(url)), "{listed}");
            assert_eq!((&transport["bearer_token_env_var"], variable), (&json!("ACME_PROD_MCP_TOKEN"), token.as_str()));
        }
    }

    #[test]
    fn vs_code_cursor_and_connectors_get_what_they_read() {
        let (grpcurl, home) = (Grpcurl::start(), Home::new());
        let url = "https://mcp.example.com/mcp?team=a%20b&also=%27*";
        for (account, token) in grpcurl.accounts() {
            let told = |client| grpcurl.instruction(account, client, url);
            let headers = json!({"Authorization": format!("Bearer {token}")});

            // Only the program `code` is missing here, not what a shell makes of the line that calls it.
            let command = told("CONNECT_CLIENT_VS_CODE")["posixCommand"].as_str().unwrap().to_owned();
            let printed = home.sh(&format!("code() {{ printf '%s\\n' \"$@\"; }}\n{command}"));
            let server: Value = serde_json::from_str(printed.strip_prefix("--add-mcp\n").unwrap()).unwrap();
            assert_eq!(server, json!({"name": "acme-prod", "type": "http", "url": url, "headers": headers}));

            let link = told("CONNECT_CLIENT_CURSOR")["link"].as_str().unwrap().to_owned();
            assert!(link.starts_with("cursor://anysphere.cursor-deeplink/mcp/install?"), "{link}");
            let parameters = home.parameters(&link);
            assert_eq!(parameters["name"], "acme-prod");
            let config = STANDARD.decode(parameters["config"].as_str().unwrap()).unwrap();
            let config: Value = serde_json::from_slice(&config).unwrap();
            assert_eq!(config, json!({"url": url, "headers": headers}));

            for client in ["CONNECT_CLIENT_CLAUDE_DESKTOP", "CONNECT_CLIENT_CHATGPT"] {
                let connector = told(client)["connectorUrl"].as_str().unwrap().to_owned();
                assert!(connector.starts_with("https://mcp.example.com/mcp?"), "{connector}");
                let expected = json!({"team": "a b", "also": "'*", "api_key": token});
                assert_eq!(home.parameters(&connector), expected, "{connector}");
            }
        }
    }
}
