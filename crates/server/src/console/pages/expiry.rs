//! The menu of expiries that a policy allows.

use std::time::Duration;

use key_authority_proto::v1::KeyPolicy;
use key_authority_proto::v1::create_key_request::Expiry;

use crate::console::fields::Fields;
use crate::console::show;

const DAY: u64 = 24 * 3600;
/// The lifetimes that the menu offers where the policy allows any.
const COMMON: [u64; 5] = [7 * DAY, 30 * DAY, 90 * DAY, 180 * DAY, 365 * DAY];

/// An entry of a menu.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_selected: bool,
}

/// The menu of expiries.
pub(super) struct ExpiryMenu {
    pub(super) choices: Vec<Choice>,
    /// Where there is only one: what it is.
    pub(super) fixed: String,
    /// The date, for the choice of one.
    pub(super) date: String,
    /// Whether a date may be chosen.
    pub(super) has_date: bool,
    pub(super) error: String,
    pub(super) is_first_error: bool,
}

impl ExpiryMenu {
    /// The menu of a new key. `typed` is what the form contained.
    pub(super) fn new(policy: &KeyPolicy, typed: Option<&Fields>) -> Self {
        if let ([only], false) = (policy.lifetimes.as_slice(), may_never(policy)) {
            let lifetime = show::whole(show::duration(only));
            return Self::fixed(format!("A key of this account expires {lifetime} after it was created."));
        }
        Self::of_choices(policy, typed)
    }

    /// The menu of all that a policy allows.
    fn of_choices(policy: &KeyPolicy, typed: Option<&Fields>) -> Self {
        let lifetimes: Vec<Duration> = policy.lifetimes.iter().map(show::duration).collect();
        let default = policy.default_lifetime.as_ref().map(show::duration);
        let (is_free, may_never) = (lifetimes.is_empty(), may_never(policy));
        let mut offered = if is_free { COMMON.map(Duration::from_secs).to_vec() } else { lifetimes };
        offered.extend(default);
        offered.sort_unstable();
        offered.dedup();
        let standard = match default {
            Some(default) => value(default),
            None if may_never => "never".to_owned(),
            None => String::new(),
        };
        let selected = typed.map_or(standard.as_str(), |typed| typed.get("expires"));
        let choice = |value: String, label: String| Choice { is_selected: value == selected, value, label };
        let mut choices: Vec<_> = offered
            .into_iter()
            .map(|lifetime| {
                let note = if Some(lifetime) == default { " (the default)" } else { "" };
                choice(value(lifetime), format!("After {}{note}", show::whole(lifetime)))
            })
            .collect();
        if standard.is_empty() {
            choices.insert(0, choice(String::new(), "Choose…".to_owned()));
        }
        if is_free {
            choices.push(choice("date".to_owned(), "On a date".to_owned()));
        }
        if may_never {
            choices.push(choice("never".to_owned(), "Never".to_owned()));
        }
        let date = typed.map(|typed| typed.get("expiry_date").to_owned()).unwrap_or_default();
        Self { choices, fixed: String::new(), date, has_date: is_free, error: String::new(), is_first_error: false }
    }

    /// Returns when a key expires for which nobody chooses that; `None` if the policy demands a choice.
    pub(super) fn unchosen(policy: &KeyPolicy) -> Option<String> {
        let only = if let [only] = policy.lifetimes.as_slice() { Some(only) } else { None };
        if let Some(lifetime) = policy.default_lifetime.as_ref().or(only) {
            return Some(format!("It expires {} after it was created.", show::whole(show::duration(lifetime))));
        }
        may_never(policy).then(|| "It never expires.".to_owned())
    }

    /// The menu of a renewal, which keeps the current expiry unless another one is chosen. A key that has expired has
    /// no `current` one to keep.
    pub(super) fn of_renewal(policy: &KeyPolicy, current: Option<&str>, typed: Option<&Fields>) -> Self {
        let mut menu = Self::of_choices(policy, typed);
        let default = policy.default_lifetime.as_ref().filter(|_| current.is_none());
        let standard = default.map(|default| value(show::duration(default))).unwrap_or_default();
        let selected = typed.map_or(standard.as_str(), |typed| typed.get("expires"));
        for choice in &mut menu.choices {
            choice.is_selected = choice.value == selected;
            choice.label = choice.label.replace(" (the default)", "");
        }
        menu.choices.retain(|choice| !choice.value.is_empty());
        if let Some(current) = current {
            let label = format!("As before: {current}");
            menu.choices.insert(0, Choice { value: String::new(), label, is_selected: selected.is_empty() });
        }
        menu
    }

    fn fixed(fixed: String) -> Self {
        let (choices, date, error) = (Vec::new(), String::new(), String::new());
        Self { choices, fixed, date, has_date: false, error, is_first_error: false }
    }

    /// Reads the choice of a form; `None` for the policy's own.
    ///
    /// # Errors
    /// What is wrong with the date.
    pub(super) fn chosen(typed: &Fields) -> Result<Option<Expiry>, String> {
        match typed.get("expires") {
            "" => Ok(None),
            "never" => Ok(Some(Expiry::NeverExpires(true))),
            "date" => match show::field_time(typed.get("expiry_date")) {
                Some(time) => Ok(Some(Expiry::ExpireTime(time))),
                None => Err("Choose the date on which the key expires.".to_owned()),
            },
            seconds => match seconds.parse() {
                Ok(seconds) => Ok(Some(Expiry::Lifetime(prost_types::Duration { seconds, nanos: 0 }))),
                Err(_) => Err("Choose an entry of the menu.".to_owned()),
            },
        }
    }
}

/// Whether a policy allows keys that never expire.
fn may_never(policy: &KeyPolicy) -> bool {
    let is_free = policy.lifetimes.is_empty() && policy.default_lifetime.is_none();
    policy.may_never_expire.unwrap_or(is_free)
}

fn value(lifetime: Duration) -> String {
    lifetime.as_secs().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: i64) -> prost_types::Duration {
        prost_types::Duration { seconds: days * 86_400, nanos: 0 }
    }

    fn labels(menu: &ExpiryMenu) -> Vec<String> {
        let marked = |choice: &Choice| format!("{}{}", if choice.is_selected { "> " } else { "" }, choice.label);
        menu.choices.iter().map(marked).collect()
    }

    #[test]
    fn a_menu_has_what_the_policy_allows() {
        let mecha =
            KeyPolicy { lifetimes: vec![days(7), days(30)], may_never_expire: Some(true), ..KeyPolicy::default() };
        assert_eq!(labels(&ExpiryMenu::new(&mecha, None)), ["After 7 days", "After 30 days", "> Never"]);
        let choosing = KeyPolicy { may_never_expire: None, ..mecha.clone() };
        assert_eq!(labels(&ExpiryMenu::new(&choosing, None)), ["> Choose…", "After 7 days", "After 30 days"]);
        let standard = KeyPolicy { default_lifetime: Some(days(30)), ..mecha };
        let menu = ExpiryMenu::new(&standard, None);
        assert_eq!(labels(&menu), ["After 7 days", "> After 30 days (the default)", "Never"]);
        let typed = Fields::parse(b"expires=604800");
        let menu = ExpiryMenu::new(&standard, Some(&typed));
        assert_eq!(labels(&menu), ["> After 7 days", "After 30 days (the default)", "Never"]);
    }

    #[test]
    fn a_single_lifetime_is_not_asked_for() {
        let meko = KeyPolicy { lifetimes: vec![days(365)], ..KeyPolicy::default() };
        let menu = ExpiryMenu::new(&meko, None);
        assert!(menu.choices.is_empty());
        assert_eq!(menu.fixed, "A key of this account expires 365 days after it was created.");
        assert_eq!(ExpiryMenu::unchosen(&meko).as_deref(), Some("It expires 365 days after it was created."));
    }

    #[test]
    fn a_renewal_offers_the_lifetimes_of_the_policy_and_keeps_no_expiry_that_has_passed() {
        let meko = KeyPolicy { lifetimes: vec![days(365)], ..KeyPolicy::default() };
        let menu = ExpiryMenu::of_renewal(&meko, Some("in a week"), None);
        assert_eq!(labels(&menu), ["> As before: in a week", "After 365 days"]);
        assert_eq!(labels(&ExpiryMenu::of_renewal(&meko, None, None)), ["After 365 days"]);
        let two = KeyPolicy { lifetimes: vec![days(7)], default_lifetime: Some(days(30)), ..KeyPolicy::default() };
        assert_eq!(labels(&ExpiryMenu::of_renewal(&two, None, None)), ["After 7 days", "> After 30 days"]);
        let typed = Fields::parse(b"expires=604800");
        assert_eq!(labels(&ExpiryMenu::of_renewal(&two, None, Some(&typed))), ["> After 7 days", "After 30 days"]);
        let choosing = KeyPolicy { lifetimes: vec![days(7), days(30)], ..KeyPolicy::default() };
        assert_eq!(labels(&ExpiryMenu::of_renewal(&choosing, None, None)), ["After 7 days", "After 30 days"]);
    }

    #[test]
    fn a_page_without_the_menu_says_when_a_key_expires() {
        let free = KeyPolicy::default();
        assert_eq!(ExpiryMenu::unchosen(&free).as_deref(), Some("It never expires."));
        let default = KeyPolicy { default_lifetime: Some(days(30)), ..KeyPolicy::default() };
        assert_eq!(ExpiryMenu::unchosen(&default).as_deref(), Some("It expires 30 days after it was created."));
        let choosing = KeyPolicy { lifetimes: vec![days(7), days(30)], ..KeyPolicy::default() };
        assert_eq!(ExpiryMenu::unchosen(&choosing), None);
    }

    #[test]
    fn a_choice_is_read() {
        let chosen = |text: &str| ExpiryMenu::chosen(&Fields::parse(text.as_bytes()));
        assert_eq!(chosen("expires="), Ok(None));
        assert_eq!(chosen("expires=never"), Ok(Some(Expiry::NeverExpires(true))));
        assert_eq!(chosen("expires=604800"), Ok(Some(Expiry::Lifetime(days(7)))));
        assert!(matches!(chosen("expires=date&expiry_date=2027-01-01"), Ok(Some(Expiry::ExpireTime(_)))));
        assert!(chosen("expires=date").is_err() && chosen("expires=soon").is_err());
    }
}
