//! The fields of a key that people edit: what they contain, their rules, and their errors.

use std::collections::{BTreeMap, BTreeSet};

use key_authority_domain::access::{NETWORKS_MAX, PROJECTS_MAX, SCOPES_MAX};
use key_authority_domain::account::{self, NamePattern};
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{
    Account, Key, KeyPolicy, ListAccountsRequest, ListKeysRequest, ProjectAccess, ProjectRule,
};

use super::expiry::ExpiryMenu;
use super::key_fields::{label_line, quoted, typed_projects};
use super::scope_choice::{ScopeChoice, offered_scopes, scope_choices, typed_scopes};
use crate::console::failure::{Failure, sentence};
use crate::console::fields::Fields;
use crate::console::show;
use crate::console::visit::Visit;

/// The number of keys whose projects are offered.
const OFFERED_KEYS: i32 = 200;
/// The number of accounts that are offered.
const OFFERED_ACCOUNTS: i32 = 100;
/// The maximum number of projects that are offered.
const OFFERED_PROJECTS: usize = 100;

/// A field.
#[derive(Default)]
pub(super) struct Field {
    pub(super) value: String,
    pub(super) rule: String,
    pub(super) error: String,
    pub(super) is_first_error: bool,
}

impl Field {
    pub(super) fn new(value: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { value: value.into(), rule: rule.into(), ..Self::default() }
    }

    pub(super) fn add_error(&mut self, error: &str) {
        if !self.error.is_empty() {
            self.error.push(' ');
        }
        self.error.push_str(error);
    }
}

/// A project that is offered.
pub(super) struct ProjectChoice {
    pub(super) name: String,
    pub(super) is_chosen: bool,
}

/// The choice of projects.
#[expect(clippy::struct_excessive_bools, reason = "the template asks each question by its name")]
#[derive(Default)]
pub(super) struct Projects {
    /// Whether the policy lets a key choose.
    pub(super) is_fixed: bool,
    /// Whether a key may cover all.
    pub(super) may_be_all: bool,
    pub(super) is_all: bool,
    pub(super) offered: Vec<ProjectChoice>,
    /// The chosen ones that are not offered, one in each line.
    pub(super) others: String,
    /// "project" or "account".
    pub(super) noun: &'static str,
    pub(super) rule: String,
    pub(super) error: String,
    pub(super) is_first_error: bool,
}

/// What a form offers to choose from.
#[derive(Clone)]
pub(super) struct Offered {
    projects: BTreeSet<String>,
    /// The scopes that the visitor may add to a key; `None`: any.
    scopes: Option<Vec<ScopeChoice>>,
}

/// The fields of a key.
#[derive(Default)]
pub(super) struct KeyForm {
    pub(super) name: Field,
    /// The pattern of names.
    pattern: String,
    /// What the pattern demands.
    pub(super) pattern_rule: String,
    pub(super) description: Field,
    pub(super) scopes: Field,
    /// The scopes to choose from, instead of the lines of `scopes`; `None`: any.
    pub(super) scope_choices: Option<Vec<ScopeChoice>>,
    /// "Permissions" or "Scopes".
    pub(super) scope_noun: &'static str,
    pub(super) networks: Field,
    pub(super) labels: Field,
    pub(super) projects: Projects,
    /// Errors that belong to no field.
    pub(super) errors: Vec<String>,
    /// The values of the fields with several, as they are sent: an error names one by its index.
    sent: BTreeMap<&'static str, Vec<String>>,
}

impl KeyForm {
    /// The form of a key with these values, for a policy.
    pub(super) fn of_key(key: &Key, policy: &KeyPolicy, offered: Offered) -> Self {
        let labels: Vec<_> = key.labels.iter().map(|(name, value)| label_line(name, value)).collect();
        let access = key.projects.clone().unwrap_or_default();
        let is_system = key.account == SYSTEM_ACCOUNT;
        let mut form = Self {
            name: Field::new(&key.display_name, name_rule(policy)),
            pattern: policy.display_name_pattern.clone(),
            pattern_rule: pattern_rule(&policy.display_name_pattern),
            description: Field::new(&key.description, "What the key is for, at most 2,000 characters."),
            scopes: Field::new(key.scopes.join("\n"), scope_rule(is_system, offered.scopes.as_deref())),
            networks: Field::new(
                key.allowed_networks.join("\n"),
                format!("One in each line, such as 192.0.2.0/24; at most {NETWORKS_MAX}. Empty: anywhere."),
            ),
            labels: Field::new(labels.join("\n"), "One in each line: name=value; at most 64."),
            scope_choices: offered.scopes.map(|scopes| scope_choices(scopes, &key.scopes, &key.scopes)),
            scope_noun: if is_system { "Permissions" } else { "Scopes" },
            ..Self::default()
        };
        let (had_all, noun) = (access.all, if is_system { "account" } else { "project" });
        form.projects = projects(access, had_all, policy, offered.projects, noun);
        form
    }

    /// The form as somebody filled it in.
    pub(super) fn of_fields(typed: &Fields, key: &Key, policy: &KeyPolicy, offered: Offered) -> Self {
        let mut form = Self::of_key(&Key { account: key.account.clone(), ..Key::default() }, policy, offered.clone());
        for (name, field) in [
            ("name", &mut form.name),
            ("description", &mut form.description),
            ("scopes", &mut form.scopes),
            ("networks", &mut form.networks),
            ("labels", &mut form.labels),
        ] {
            typed.get(name).clone_into(&mut field.value);
        }
        form.scope_choices = offered.scopes.map(|scopes| scope_choices(scopes, &key.scopes, &typed_scopes(typed)));
        let current = key.projects.clone().unwrap_or_default();
        let access = typed_projects(typed, &current).unwrap_or_default();
        form.sent = BTreeMap::from([
            ("scopes", typed_scopes(typed)),
            ("allowed_networks", typed.lines("networks")),
            ("projects", access.only.clone()),
        ]);
        form.projects = projects(access, current.all, policy, offered.projects, form.projects.noun);
        form
    }

    /// Checks the name by the policy. The API checks it after all other fields, and people want all errors at once.
    pub(super) fn check_name(&mut self) {
        let Ok(pattern) = NamePattern::stored(&self.pattern) else { return };
        let policy = account::KeyPolicy { display_name_pattern: Some(pattern), ..account::KeyPolicy::default() };
        if !self.pattern.is_empty()
            && self.name.error.is_empty()
            && policy.check_display_name(self.name.value.trim()).is_err()
        {
            self.name.add_error(&self.pattern_rule);
        }
    }

    /// Returns the pattern of names for a check in the browser, if it means the same there: JavaScript's `\w` covers
    /// fewer letters, and a pattern that Rust matches in linear time can take JavaScript exponential time.
    pub(super) fn browser_pattern(&self) -> Option<&str> {
        pattern_words(&self.pattern).map(|_| self.pattern.as_str())
    }

    /// Whether the form limits what the key may do, or offers scopes, without which the key may do nothing.
    pub(super) fn has_access(&self) -> bool {
        let is_set = |field: &Field| !field.value.is_empty();
        let chosen = !self.projects.is_fixed && !self.projects.is_all;
        let has_scopes = self.scope_choices.as_ref().is_some_and(|choices| !choices.is_empty());
        chosen || has_scopes || [&self.scopes, &self.networks, &self.labels].into_iter().any(is_set)
    }

    /// Attributes a failed call to the fields. What belongs to none becomes an error of the form.
    pub(super) fn place(&mut self, failure: &Failure, mut expiry: Option<&mut ExpiryMenu>) {
        for (path, rule) in &failure.violations {
            let path = path.strip_prefix("key.").unwrap_or(path);
            // What was typed had blank lines, and was sorted: the number of a line would be another one.
            let text = match self.sent_value(path) {
                Some(value) => format!("{}: {}.", quoted(value), rule.trim_end_matches('.')),
                None => sentence(rule),
            };
            self.add(path, &text, expiry.as_deref_mut());
        }
        let message = failure.sentence();
        match failure.reason.as_str() {
            "FIELD_INVALID" if !failure.violations.is_empty() => {}
            "LIFETIME_NOT_ALLOWED" => self.add("lifetime", &message, expiry.as_deref_mut()),
            "SCOPES_NOT_ALLOWED" => self.add("scopes", &message, expiry.as_deref_mut()),
            "PROJECTS_NOT_ALLOWED" => self.add("projects", &message, expiry.as_deref_mut()),
            _ => self.errors.push(message),
        }
        self.mark_first(expiry);
    }

    /// Returns the value that a path of the API names, such as `scopes[3]`.
    fn sent_value(&self, path: &str) -> Option<&str> {
        let (field, index) = path.strip_suffix(']')?.rsplit_once('[')?;
        let values = self.sent.get(field.split('.').next()?)?;
        values.get(index.parse::<usize>().ok()?).map(String::as_str)
    }

    /// Adds an error to a field, by the name that the API has for it.
    pub(super) fn add(&mut self, path: &str, text: &str, expiry: Option<&mut ExpiryMenu>) {
        let field = match path.split(['[', '.']).next().unwrap_or_default() {
            // The pattern in words, where there are words for it.
            "display_name" if !self.pattern.is_empty() && text.contains(&self.pattern) => {
                self.name.add_error(&self.pattern_rule);
                return;
            }
            "display_name" => &mut self.name,
            "description" => &mut self.description,
            "scopes" => &mut self.scopes,
            "allowed_networks" => &mut self.networks,
            "labels" => &mut self.labels,
            "projects" => {
                self.projects.error.push_str(text);
                return;
            }
            "lifetime" | "expire_time" | "never_expires" => {
                match expiry {
                    Some(menu) => menu.error.push_str(text),
                    None => self.errors.push(text.to_owned()),
                }
                return;
            }
            _ => {
                self.errors.push(text.to_owned());
                return;
            }
        };
        field.add_error(text);
    }

    /// Marks the first field with an error: it gets the focus.
    pub(super) fn mark_first(&mut self, expiry: Option<&mut ExpiryMenu>) {
        let mut none = (String::new(), false);
        let expiry = expiry.map_or((&mut none.0, &mut none.1), |menu| (&mut menu.error, &mut menu.is_first_error));
        let fields = [
            (&mut self.name.error, &mut self.name.is_first_error),
            (&mut self.description.error, &mut self.description.is_first_error),
            expiry,
            (&mut self.scopes.error, &mut self.scopes.is_first_error),
            (&mut self.projects.error, &mut self.projects.is_first_error),
            (&mut self.networks.error, &mut self.networks.is_first_error),
            (&mut self.labels.error, &mut self.labels.is_first_error),
        ];
        let mut is_found = false;
        for (error, is_first) in fields {
            *is_first = !is_found && !error.is_empty();
            is_found |= *is_first;
        }
    }

    /// Whether a field has an error.
    pub(super) fn has_field_errors(&self) -> bool {
        let fields = [&self.name, &self.description, &self.scopes, &self.networks, &self.labels];
        fields.iter().any(|field| !field.error.is_empty()) || !self.projects.error.is_empty()
    }
}

fn name_rule(policy: &KeyPolicy) -> String {
    if policy.display_name_pattern.is_empty() {
        return "A label for people, at most 200 characters.".to_owned();
    }
    format!("At most 200 characters. {}", pattern_rule(&policy.display_name_pattern))
}

/// Returns what a pattern of names demands: in words, for the patterns that policies usually have.
fn pattern_rule(pattern: &str) -> String {
    pattern_words(pattern).map_or_else(|| format!("The name must match the pattern {pattern}"), str::to_owned)
}

fn pattern_words(pattern: &str) -> Option<&'static str> {
    [r"^\p{L}", "^[A-Za-z]", "^[a-zA-Z]"].contains(&pattern).then_some("The name must begin with a letter.")
}

fn scope_rule(is_system: bool, offered: Option<&[ScopeChoice]>) -> String {
    match offered {
        _ if is_system => "A caller has at most the permissions of the key that you are signed in with.".to_owned(),
        None => format!("What the holder may do, one in each line; at most {SCOPES_MAX}."),
        Some([]) => "You may not add scopes to keys here.".to_owned(),
        Some(_) => "What the holder may do.".to_owned(),
    }
}

/// Returns the choice of projects. A key that has all may keep them: its policy may have made keys choose since.
fn projects(
    access: ProjectAccess,
    had_all: bool,
    policy: &KeyPolicy,
    offered: BTreeSet<String>,
    noun: &'static str,
) -> Projects {
    let rule = policy.project_rule();
    let mut offered = offered;
    let chosen: BTreeSet<_> = access.only.into_iter().collect();
    let others: Vec<_> = chosen.iter().filter(|name| !offered.contains(*name)).cloned().collect();
    // A few are easier to see as choices.
    let others = if others.len() + offered.len() <= OFFERED_PROJECTS {
        offered.extend(others);
        Vec::new()
    } else {
        others
    };
    let choice = |name: String| ProjectChoice { is_chosen: chosen.contains(&name), name };
    Projects {
        is_fixed: rule == ProjectRule::All,
        may_be_all: rule == ProjectRule::Unspecified || had_all || access.all,
        is_all: access.all,
        offered: offered.into_iter().map(choice).collect(),
        others: others.join("\n"),
        noun,
        rule: format!("At most {}. A key without any is denied everywhere.", show::count(PROJECTS_MAX as u64)),
        error: String::new(),
        is_first_error: false,
    }
}

/// Returns what the form of a key of the account offers to this visitor.
pub(super) async fn offered(visit: &Visit, account: &str) -> Offered {
    Offered { projects: offered_projects(visit, account).await, scopes: offered_scopes(visit, account) }
}

/// Returns the projects that other keys of the account have, to choose from; for callers, the first accounts as well. A
/// visitor who may not list them gets none.
async fn offered_projects(visit: &Visit, account: &str) -> BTreeSet<String> {
    let mut offered = projects_of_keys(visit, account).await;
    if account == SYSTEM_ACCOUNT {
        let request = ListAccountsRequest { page_size: OFFERED_ACCOUNTS, ..Default::default() };
        let listed = visit.ask(visit.admin().list_accounts(visit.request(request))).await;
        offered.extend(listed.map(|listed| listed.accounts).unwrap_or_default().into_iter().map(|account| account.id));
    }
    offered.into_iter().take(OFFERED_PROJECTS).collect()
}

async fn projects_of_keys(visit: &Visit, account: &str) -> BTreeSet<String> {
    let request = ListKeysRequest { account: account.to_owned(), page_size: OFFERED_KEYS, ..Default::default() };
    let Ok(listed) = visit.ask(visit.admin().list_keys(visit.request(request))).await else { return BTreeSet::new() };
    let projects = listed.keys.into_iter().filter_map(|key| key.projects).flat_map(|projects| projects.only);
    projects.collect()
}

/// Returns the policy of an account.
pub(super) fn policy(account: &Account) -> KeyPolicy {
    account.policy.clone().unwrap_or_default()
}

/// Returns the policy of a key's account; the widest one for a visitor who may not read accounts.
pub(super) async fn policy_of(visit: &Visit, key: &Key) -> Result<KeyPolicy, Failure> {
    if !visit.has(Permission::AccountsRead) {
        return Ok(KeyPolicy::default());
    }
    Ok(policy(&visit.account(&key.account).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_check_patterns_alone_that_mean_the_same_there() {
        for (pattern, is_checked) in
            [("", false), (r"^\p{L}", true), ("^[A-Za-z]", true), (r"^\w+$", false), ("^(a+)+$", false)]
        {
            let form = KeyForm { pattern: pattern.to_owned(), ..KeyForm::default() };
            assert_eq!(form.browser_pattern().is_some(), is_checked, "{pattern}");
        }
    }

    #[test]
    fn violations_stand_beside_their_fields_and_the_first_gets_the_focus() {
        let mut failure = Failure::not_permitted("invalid request");
        failure.reason = "FIELD_INVALID".to_owned();
        let rule = |field: &str, rule: &str| (field.to_owned(), rule.to_owned());
        failure.violations = vec![
            rule("key.scopes[3]", "must have no spaces"),
            rule("allowed_networks[0]", "must be a network"),
            rule("display_name", "must match the pattern"),
            rule("unknown", "must be something"),
        ];
        let typed = Fields::parse(b"scopes=a%0A%0Ab%0Ac&scope=d+e&networks=%0A%0Anowhere");
        let offered = Offered { projects: BTreeSet::new(), scopes: None };
        let mut form = KeyForm::of_fields(&typed, &Key::default(), &KeyPolicy::default(), offered);
        form.place(&failure, None);
        assert_eq!(form.scopes.error, "“d e”: must have no spaces.");
        assert_eq!(form.networks.error, "“nowhere”: must be a network.");
        assert_eq!(form.name.error, "Must match the pattern.");
        assert_eq!(form.errors, ["Must be something."]);
        assert!(form.name.is_first_error && !form.scopes.is_first_error);
    }
}
