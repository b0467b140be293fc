//! Clients of the HTTP door: `@connectrpc/connect-node`, and the linter of its `OpenAPI` document.

use std::path::PathBuf;
use std::process::Command;

use super::server::{Server, tools, workspace};
use super::{Ended, run};

/// The folder of the programs and settings of these tests.
fn sources() -> PathBuf {
    workspace().join("crates/server/tests/clients")
}

/// Returns the URL of the HTTP door.
fn api(server: &Server) -> String {
    let printed = std::fs::read_to_string(server.folder().join("stdout.log")).unwrap();
    let address = printed.lines().find_map(|line| line.trim().strip_prefix("API ")?.split_whitespace().next());
    format!("http://{}", address.unwrap())
}

/// A program of Node in a folder of the server, from which it finds the packages of `scripts/node`.
fn node(server: &Server, program: &str, arguments: &[&str]) -> Ended {
    let packages = server.folder().join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(tools().join("../node/node_modules"), packages).unwrap();
    }
    let mut command = Command::new("node");
    command.current_dir(server.folder()).arg(program).args(arguments);
    run(command.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"))
}

mod sqlite {
    use key_authority_proto::FILE_DESCRIPTOR_SET;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn connect_for_node_calls_every_unary_rpc_by_json_and_by_protobuf() {
        let server = Server::start();
        std::fs::copy(sources().join("connect.mjs"), server.folder().join("connect.mjs")).unwrap();
        std::fs::write(server.folder().join("descriptors.binpb"), FILE_DESCRIPTOR_SET).unwrap();
        let token = server.root_token_file.to_str().unwrap();
        let ended = node(&server, "connect.mjs", &[&api(&server), token, "descriptors.binpb"]);
        assert!(ended.is_success, "the steps that it made:\n{}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.ends_with("done\n"), "{}", ended.stdout);
    }

    #[test]
    fn the_openapi_document_passes_the_linter_of_redocly() {
        let server = Server::start();
        let fetched = run(Command::new("curl").args(["-sS", "--fail", &format!("{}/openapi.json", api(&server))]));
        assert!(fetched.is_success, "{}", fetched.stderr);
        let mut document: Value = serde_json::from_str(&fetched.stdout).unwrap();
        let settings = sources().join("redocly.yaml");
        let lint = |document: &Value| {
            std::fs::write(server.folder().join("openapi.json"), document.to_string()).unwrap();
            let redocly = tools().join("../node/node_modules/.bin/redocly").canonicalize().unwrap();
            let arguments = ["lint", "openapi.json", "--config", settings.to_str().unwrap()];
            node(&server, redocly.to_str().unwrap(), &arguments)
        };
        let ended = lint(&document);
        assert!(ended.is_success, "{}\n{}", ended.stdout, ended.stderr);
        // It finds mistakes.
        document["paths"]["/introspect"]["post"]["responses"]["200"]["content"] = json!([]);
        assert!(!lint(&document).is_success);
    }
}
