//! `keyctl audit`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use key_authority_proto::v1::{Action, AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse};

use super::Session;
use crate::errors::{Error, Exit};
use crate::fields::{self, Moment};
use crate::table::{Table, plain};
use crate::views::{exactly_when, word};

/// Number of events in one request.
const PAGE_SIZE: i32 = 500;

/// Lists changes: what, by whom and when
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only changes of this account and its keys
    #[arg(long, default_value = "", hide_default_value = true)]
    account: String,
    /// Only changes of this key
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    key: String,
    /// Only changes by this caller: the ID of its key, or bootstrap
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    actor: String,
    /// Only changes with this action; may be repeated
    #[arg(long, value_parser = PossibleValuesParser::new(action_names()).map(|name| action_by_name(&name)))]
    action: Vec<Action>,
    /// Only changes at or after this time: 2027-01-31T12:00:00Z, or 24h for one day ago
    #[arg(long, value_name = "MOMENT", value_parser = fields::moment)]
    since: Option<Moment>,
    /// Only changes before this time
    #[arg(long, value_name = "MOMENT", value_parser = fields::moment)]
    until: Option<Moment>,
    /// Maximum number of changes
    #[arg(long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    /// The newest change first, instead of the oldest
    #[arg(long)]
    newest_first: bool,
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Error> {
        let limit = self.limit;
        let mut request = ListAuditEventsRequest {
            account: self.account,
            key_id: self.key,
            actor: self.actor,
            actions: self.action.into_iter().map(Into::into).collect(),
            start_time: self.since.map(|moment| moment.before(session.now)),
            end_time: self.until.map(|moment| moment.before(session.now)),
            page_size: PAGE_SIZE,
            page_token: String::new(),
            order_by: if self.newest_first { "revision desc".to_owned() } else { String::new() },
        };
        let mut events = Vec::new();
        loop {
            let rpc = |mut api: crate::client::Api, request| async move { api.list_audit_events(request).await };
            let page = session.client.ask(request.clone(), rpc).await?;
            events.extend(page.events);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() || events.len() >= limit {
                break;
            }
        }
        events.truncate(limit);
        let answer = ListAuditEventsResponse { events, next_page_token: String::new() };
        session.console.show(&answer, || table(&answer.events, session.now))?;
        if answer.events.is_empty() {
            session.console.note_empty("no change matches");
        }
        Ok(Exit::Done)
    }
}

fn table(events: &[AuditEvent], now: i64) -> Table {
    let mut table = Table::list(&["REVISION", "ACTION", "ACCOUNT", "KEY", "BY", "TIME"]);
    for event in events {
        table.row(vec![
            plain(event.revision.to_string()),
            plain(name(event.action())),
            plain(&event.account),
            plain(&event.key_id),
            plain(by(event)),
            plain(exactly_when(event.time.as_ref(), now)),
        ]);
    }
    table
}

/// The caller, and the user for whom it acted in a portal session.
fn by(event: &AuditEvent) -> String {
    let AuditEvent { actor, subject, .. } = event;
    if subject.is_empty() { actor.clone() } else { format!("{actor} for {subject}") }
}

/// `ACTION_CREATE_KEY` is `create-key`.
fn name(action: Action) -> String {
    word("ACTION_", action.as_str_name()).replace('_', "-")
}

fn actions() -> impl Iterator<Item = Action> {
    (1..).map_while(|number| Action::try_from(number).ok())
}

fn action_names() -> Vec<String> {
    actions().map(name).collect()
}

fn action_by_name(wanted: &str) -> Action {
    actions().find(|&action| name(action) == wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_unique_name() {
        assert!(action_names().len() >= 15, "{:?}", action_names());
        assert_eq!(name(Action::CreateKey), "create-key");
        for action in actions() {
            assert_eq!(action_by_name(&name(action)), action);
        }
    }
}
