//! `keyctl keys report`.

use crate::support::Keyctl;

#[test]
fn a_report_lists_active_keys_that_need_attention() {
    let keyctl = Keyctl::start();
    keyctl.done(&["accounts", "create", "acme"]);
    keyctl.done(&["accounts", "create", "simple", "--project-rule", "all"]);
    let tidy = ["--project", "shop", "--lifetime", "60d"];
    keyctl.done(&[&["keys", "create", "acme", "--key-id", "tidy"], &tidy[..]].concat());
    keyctl.run(&["keys", "report", "acme"]).with(0).says("1 active key checked; none needs attention");

    keyctl.done(&["keys", "create", "acme", "--key-id", "ever", "--project", "shop", "--never-expires"]);
    keyctl.done(&["keys", "create", "acme", "--key-id", "broad", "--lifetime", "60d"]);
    keyctl.done(&["keys", "create", "acme", "--key-id", "short", "--project", "shop", "--lifetime", "2d"]);
    keyctl.done(&["keys", "create", "acme", "--key-id", "gone", "--never-expires"]);
    keyctl.done(&["keys", "revoke", "gone", "--yes"]);
    keyctl.done(&["keys", "create", "simple", "--key-id", "all", "--lifetime", "60d"]);
    let report = |more: &[&str]| keyctl.run(&[&["keys", "report"], more].concat());

    let ended = report(&["acme"]).with(1).says("4 active keys checked; 3 need attention");
    let rows = ended.stdout.lines().map(|row| row.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    assert_eq!(rows.collect::<Vec<_>>(), ["KEY NAME", "short expiring-soon", "broad over-broad", "ever no-expiry"]);
    report(&["acme", "--only", "unused"]).with(0);
    report(&["simple"]).with(0);
    let ended = report(&["acme", "--only", "never-used", "--unused-for", "0s", "-o", "json"]).with(1);
    let report_of_all = ended.json();
    assert_eq!(report_of_all["checked"], 4);
    assert_eq!(report_of_all["keys"].as_array().unwrap().len(), 4, "{report_of_all}");
    assert_eq!(report_of_all["keys"][3]["findings"], serde_json::json!(["never-used"]));
    assert_eq!(report_of_all["keys"][3]["key"], keyctl.run(&["keys", "show", "tidy", "-o", "json"]).json());
    assert_eq!(
        report(&["acme", "--expiring-within", "0s", "-o", "json"]).with(1).json()["keys"][1]["key"]["id"],
        "ever"
    );

    // All accounts: the root key covers all of them and never expires.
    let ended = report(&[]).with(1);
    assert!(ended.stdout.starts_with("ACCOUNT") && !ended.stdout.contains("simple"), "{}", ended.stdout);
    assert!(ended.stdout.lines().any(|row| row.starts_with("system") && row.contains("no-expiry, over-broad")));
    report(&["acme", "-o", "token"]).with(2);
    report(&["nobody"]).with(4).says("next: keyctl accounts list");
}

#[test]
fn a_report_requires_only_the_permission_to_read_keys() {
    let keyctl = Keyctl::start();
    keyctl.key("ci");
    keyctl.done(&["keys", "create", "system", "--scope", "keys.read", "--all-projects", "--save", "reader.txt"]);
    keyctl.run(&["--token-file", "reader.txt", "keys", "report", "acme"]).with(1).says("1 needs attention");
}
