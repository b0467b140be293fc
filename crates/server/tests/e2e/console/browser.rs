//! The console in a real Chromium (`scripts/install-tools`). The scenarios are in `tests/clients/console`: those of four
//! products' portals, each named after its line in `docs/products.md`, run for an operator and in a portal session,
//! with scripts and without them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use key_authority_proto::v1::KeyPolicy;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::timeout;
use tonic_health::pb::health_check_response::ServingStatus;

use super::Visitor;
use crate::support::authority::VERIFY;
use crate::support::process::{Server, output, program};
use crate::support::{Authority, Database, Setup, eventually, on_database_servers, on_sqlite};

/// The time that one scenario may take, on a machine that runs many of them at once.
const SCENARIO_MAX: Duration = Duration::from_mins(9);

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn node_modules() -> PathBuf {
    let modules = package("../../.venv/node/node_modules");
    let is_there = modules.join("playwright-core").is_dir();
    assert!(is_there, "playwright-core is not in {}: run scripts/install-tools", modules.display());
    modules
}

/// Runs a scenario against an authority.
async fn scenario(authority: &Authority, file: &str, name: &str, variables: &[(&str, &str)]) {
    let (base, token) = (format!("http://{}", authority.api()), authority.root_token());
    let authority = [("BASE", base.as_str()), ("TOKEN", token.as_str())];
    play(file, name, &[&authority, variables].concat()).await;
}

/// Runs a scenario in a browser.
async fn play(file: &str, name: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new("node");
    command.arg(package("tests/clients/console/run.mjs")).args([file, name]);
    command.env("NODE_MODULES", node_modules()).env("EXAMPLES", package("../../docs/examples"));
    command.envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(SCENARIO_MAX, command.output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{name} takes longer than {SCENARIO_MAX:?}")).expect("node runs");
    let [out, err] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(ended.status.success(), "{name}\n{out}{err}");
}

macro_rules! scenarios {
    ($file:literal { $($name:ident),* $(,)? }) => {
        $(async fn $name(authority: Authority) {
            scenario(&authority, $file, stringify!($name), &[]).await;
        })*

        on_sqlite! { $($name),* }

        /// The names of the scenarios.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

mod portals {
    use super::*;

    scenarios! { "products" {
        meko_portal_1_the_list_shows_each_key_by_name_and_prefix_with_its_status,
        meko_portal_2_create_key_asks_for_a_name_only,
        meko_portal_3_the_token_is_shown_once_to_copy_or_download,
        meko_portal_4_expiry_is_told_and_not_asked,
        meko_portal_5_the_eleventh_active_key_is_refused_with_what_to_do,
        meko_portal_6_revoke_asks_and_the_key_stays_listed,
        meko_portal_7_connect_leads_to_a_key_or_lists_those_there_are,
        mecha_portal_1_a_name_an_expiry_from_the_menu_and_a_description,
        mecha_portal_2_a_name_that_begins_with_a_digit_is_refused_beside_the_field,
        mecha_portal_3_the_result_shows_key_id_and_secret_each_to_copy,
        mecha_portal_4_the_new_key_is_in_the_list_at_once,
        mecha_portal_5_ten_places_used_and_deleting_makes_room,
        console_portal_1_a_switch_moves_a_key_between_enabled_and_disabled,
        console_portal_2_the_name_is_edited_where_it_stands,
        console_portal_3_a_masked_key_is_copied_and_the_trail_records_it,
        console_portal_4_last_used_and_created_are_relative_with_the_exact_time,
        console_portal_5_delete_asks_and_warns_of_recent_use,
        console_portal_6_an_ai_agent_is_connected_with_the_accounts_key,
        gaio_portal_1_the_columns_of_the_list,
        gaio_portal_2_a_new_key_has_a_name_and_a_switch_for_active,
        gaio_portal_3_the_projects_badge_opens_a_choice_of_projects,
        gaio_portal_4_renew_asks_and_shows_the_new_token_once,
        gaio_portal_5_edit_changes_name_and_projects,
        gaio_portal_6_delete_asks_and_stops_every_integration,
        gaio_portal_7_the_page_of_a_key_lists_who_did_what_and_when,
    } }

    #[test]
    fn every_scenario_of_the_file_is_listed() {
        super::compare("products", NAMES);
    }
}

mod safety {
    use super::*;

    scenarios! { "safety" {
        hostile_names_stay_text,
        other_sites_can_do_nothing,
        a_portal_is_entered_from_another_site,
        a_copied_link_opens_once,
        a_hostile_user_of_a_portal_stays_text,
        the_browser_keeps_no_token,
        a_pasted_token_is_in_no_address,
        a_double_click_makes_one_key,
        a_failure_beside_the_page_is_said,
    } }

    #[test]
    fn every_scenario_of_the_file_is_listed() {
        // The last one needs more than an authority.
        super::compare("safety", &[NAMES, &["two_browsers_at_two_replicas_agree"]].concat());
    }
}

mod access {
    use super::*;

    scenarios! { "access" {
        every_page_is_accessible_and_light,
        the_keyboard_is_enough,
    } }

    #[test]
    fn every_scenario_of_the_file_is_listed() {
        // The others need more than an authority.
        let others: &[&str] = &[
            "every_page_is_written",
            "pages_of_an_outage_are_accessible",
            "pages_of_an_unfinished_change_are_accessible",
        ];
        super::compare("access", &[NAMES, others].concat());
    }
}

mod audit {
    use super::*;

    scenarios! { "audit" {
        the_audit_log_is_narrowed,
        the_next_page_of_the_audit_log_has_the_same_filters,
    } }

    #[test]
    fn every_scenario_of_the_file_is_listed() {
        super::compare("audit", NAMES);
    }
}

/// Fails unless the scenarios that a file exports are those that run.
fn compare(file: &str, names: &[&str]) {
    let text = std::fs::read_to_string(package(&format!("tests/clients/console/{file}.mjs"))).unwrap();
    let exported = text.split("export async function ").skip(1).map(|rest| rest.split('(').next().unwrap());
    let mut exported: Vec<_> = exported.collect();
    let mut names = names.to_vec();
    exported.sort_unstable();
    names.sort_unstable();
    assert_eq!(exported, names);
}

async fn every_page_is_valid_html(authority: Authority) {
    let pages = authority.folder().join("pages");
    let folder = pages.display().to_string();
    scenario(&authority, "access", "every_page_is_written", &[("PAGES", &folder)]).await;
    let mut command = Command::new("java");
    command.arg("-jar").arg(node_modules().join("vnu-jar/build/dist/vnu.jar")).args(["--Werror", "--skip-non-html"]);
    command.arg(&pages).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(SCENARIO_MAX, command.output()).await.expect("the checker ends").expect("java runs");
    assert!(std::fs::read_dir(&pages).unwrap().count() > 50, "the pages are written");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

async fn two_browsers_at_two_replicas_agree(authority: Authority) {
    let other = authority.another(|setup| setup).await;
    let address = format!("http://{}", other.api());
    scenario(&authority, "safety", "two_browsers_at_two_replicas_agree", &[("OTHER", &address)]).await;
}

/// The cookies of somebody who has signed in, as the scenarios read them.
async fn session(authority: &Authority) -> String {
    let visitor = Visitor::signed_in(authority, &authority.root_token()).await;
    serde_json::to_string(&visitor.cookies).unwrap()
}

async fn a_change_that_cannot_be_made_can_be_tried_again(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let session = session(&authority).await;
    let _held = authority.database().hold_changes();
    let variables = [("SESSION", session.as_str()), ("ACCOUNT", "acme")];
    scenario(&authority, "access", "pages_of_an_outage_are_accessible", &variables).await;
}

async fn an_outage_is_shown_as_one(database: Database) {
    let authority = Setup::on(database).linked().flags(["--lease", "5s"]).start().await;
    let session = session(&authority).await;
    authority.link().cut();
    authority.await_health(VERIFY, ServingStatus::NotServing).await;
    scenario(&authority, "access", "pages_of_an_outage_are_accessible", &[("SESSION", &session)]).await;
}

/// A replica is frozen, so a change is committed and not confirmed until the lease of that replica has ended, which is
/// long after the browser has started.
async fn a_change_that_is_not_confirmed_yet_is_shown_as_one(database: Database) {
    let authority = Setup::on(database).flags(["--lease", "60s", "--request-timeout", "5s"]).start().await;
    let frozen = authority.another(|setup| setup).await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await.id();
    let session = session(&authority).await;
    frozen.signal(Signal::STOP);
    let variables = [("SESSION", session.as_str()), ("KEY", key.as_str())];
    scenario(&authority, "access", "pages_of_an_unfinished_change_are_accessible", &variables).await;
    frozen.signal(Signal::CONT);
}

/// The program without a setting but that its ports are free ones, in an empty folder.
async fn the_first_run_leads_from_the_printed_address_to_a_key(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
    command.current_dir(folder.path());
    let server = Server::start(command, folder.path()).await;
    let printed = async |label: &str| {
        let value = |line: &str| Some(line.trim().strip_prefix(label)?.trim().to_owned());
        eventually(label, async || output(folder.path()).lines().find_map(value)).await
    };
    let token_file = folder.path().join(printed("root token").await);
    assert_eq!(token_file, folder.path().join("./data/root.token"), "as the README says");
    let grpcurl = package("../../.venv/bin/grpcurl");
    let variables = [
        ("CONSOLE", printed("console").await),
        ("GRPC", server.grpc.clone()),
        ("GRPCURL", grpcurl.display().to_string()),
        ("TOKEN_FILE", token_file.display().to_string()),
    ];
    let name = "the_first_run_leads_from_the_printed_address_to_a_key";
    play("first_run", name, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
}

on_sqlite! {
    every_page_is_valid_html,
    the_first_run_leads_from_the_printed_address_to_a_key,
    a_change_that_cannot_be_made_can_be_tried_again,
}

mod servers {
    use super::*;
    on_database_servers! {
        an_outage_is_shown_as_one,
        a_change_that_is_not_confirmed_yet_is_shown_as_one,
        two_browsers_at_two_replicas_agree,
    }
}
