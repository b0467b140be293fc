//! The documents tell the truth: their commands run, and give the answers that stand below them.
//!
//! `documents/run.rs` has the rule, and `documents/limits.rs` compares the page about limits with the sources.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is all that it should do"
)]

#[path = "documents/limits.rs"]
mod limits;
#[path = "documents/run.rs"]
mod run;
#[path = "clients/server.rs"]
mod server;

use std::os::unix::fs::symlink;
use std::path::Path;

use server::{Server, tools, workspace};

/// Runs a document against a server, and says all that is wrong with it.
fn faults(server: &Server, document: &str) -> Vec<String> {
    // A folder that looks like the workspace to the commands, and that they may litter.
    let folder = tempfile::tempdir_in(server.folder()).unwrap();
    symlink(tools().parent().unwrap(), folder.path().join(".venv")).unwrap();
    for name in ["docs", "proto"] {
        symlink(workspace().join(name), folder.path().join(name)).unwrap();
    }
    symlink(tools().join("../node/node_modules"), folder.path().join("node_modules")).unwrap();
    let root_token_file = server.root_token_file.to_str().unwrap();
    let printed = std::fs::read_to_string(server.folder().join("stdout.log")).unwrap();
    let api = printed.lines().find_map(|line| line.trim().strip_prefix("API ")?.split_whitespace().next()).unwrap();
    let api = format!("http://{api}");
    let go_path = go_path(folder.path(), server.folder());
    let go_cache = tools().join("../go-cache");
    let variables = [
        ("ADDRESS", server.address.as_str()),
        ("API", &api),
        ("ROOT_TOKEN_FILE", root_token_file),
        ("GO111MODULE", "off"),
        ("GOPATH", &go_path),
        ("GOCACHE", go_cache.to_str().unwrap()),
    ];
    run::faults(document, folder.path(), &variables)
}

/// Makes a folder the module `example.com/shop` for Go, beside Debian's packages, which need no network.
fn go_path(module: &Path, server: &Path) -> String {
    let root = tempfile::tempdir_in(server).unwrap().keep();
    let domain = root.join("src/example.com");
    std::fs::create_dir_all(&domain).unwrap();
    symlink(module, domain.join("shop")).unwrap();
    format!("{}:/usr/share/gocode", root.display())
}

/// Fails unless a document is right.
fn assert_right(name: &str, document: &str) {
    let faults = faults(&Server::start(), document);
    assert!(faults.is_empty(), "{name}: {} faults\n\n{}", faults.len(), faults.join("\n\n"));
}

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

mod sqlite {
    use super::run::marked;
    use super::{Server, assert_right, faults, read};

    #[test]
    fn the_products_are_walked_through_as_written() {
        assert_right("docs/products.md", &read("docs/products.md"));
    }

    #[test]
    fn the_tour_of_the_readme_goes_as_written() {
        assert_right("README.md", &marked(&read("README.md"), "tour"));
    }

    #[test]
    fn the_page_about_http_is_right() {
        assert_right("docs/http.md", &read("docs/http.md"));
    }

    #[test]
    fn a_product_sends_its_users_to_a_portal_as_its_page_says() {
        assert_right("docs/console.md", &marked(&read("docs/console.md"), "portal"));
    }

    #[test]
    fn a_client_in_python_is_written_as_its_page_says() {
        assert_right("docs/clients/python.md", &read("docs/clients/python.md"));
    }

    #[test]
    fn a_client_for_node_is_written_as_its_page_says() {
        assert_right("docs/clients/node.md", &read("docs/clients/node.md"));
    }

    #[test]
    fn a_client_in_go_is_written_as_its_page_says() {
        assert_right("docs/clients/go.md", &read("docs/clients/go.md"));
    }

    #[test]
    fn a_client_in_java_is_written_as_its_page_says() {
        assert_right("docs/clients/java.md", &read("docs/clients/java.md"));
    }

    #[test]
    fn a_document_that_is_wrong_is_noticed() {
        let right = "```sh\nprintf 'one\\ntwo {3}\\n'\n```\n```text\none\ntwo {…}\n```\n";
        let server = Server::start();
        assert_eq!(faults(&server, right), [""; 0]);
        for (wrong, fault) in [
            (right.replace("one\ntwo {…}", "two {…}\none"), "lacks, or has elsewhere: two"),
            (right.replace("{…}", "{4}"), "lacks, or has elsewhere: two {4}"),
            (right.replace("\ntwo {…}", ""), "the answer goes on: two {3}"),
            (right.replace("```text\none", "```json\none\none"), "lacks, or has elsewhere: one"),
            (right.replace("printf", "prinft"), "line 2: it ended here"),
            (right.replace("```text\none", "```text\nERROR:\none"), "line 2: it ended here"),
            (right.replace("printf", "exit 0; printf"), "line 2: it ended here"),
            (right.replace("two {3}\\n'", "two {3}\\n'; false"), "line 2: it ended here"),
        ] {
            let faults = faults(&server, &wrong);
            assert!(matches!(&faults[..], [only] if only.contains(fault)), "{wrong}\n{faults:#?}");
        }
    }
}
