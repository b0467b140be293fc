//! RPCs on the audit log.

use key_authority_proto::v1;
use key_authority_storage::audit_read::EventQuery;
use key_authority_storage::page::AccountScope;

use super::context::Admin;
use super::cursor;
use super::listing;
use crate::auth::call::Call;
use crate::auth::permit::Rights;
use crate::rpc::errors::RpcError;
use crate::wire;

impl Admin {
    /// `ListAuditEvents`. It also lists the events of deleted keys and accounts.
    pub(super) async fn list_audit_events(
        &self,
        call: &Call,
        request: v1::ListAuditEventsRequest,
    ) -> Result<v1::ListAuditEventsResponse, RpcError> {
        let filter = wire::audit::list_events(&request)?;
        let accounts = match filter.account {
            None => call.permit.accounts(),
            Some(id) if call.permit.covers(&id) => AccountScope::Only(vec![id]),
            Some(_) => return Err(RpcError::AccountNotFound),
        };
        let caller = call.permit.actor()?;
        let after = cursor::open(&self.keyring, caller.as_str(), &request)?;
        let query = EventQuery {
            accounts,
            key_id: filter.key_id,
            actor: filter.actor,
            actions: filter.actions,
            start: filter.start,
            end: filter.end,
            order: filter.order,
        };
        let after = after.unwrap_or(filter.order.start());
        let page = self.store.events(&query, filter.page_size, after).await?;
        let (events, next) = listing::messages(page, wire::audit::event_to_proto, |logged| logged.revision);
        let next_page_token = cursor::seal(&self.keyring, caller.as_str(), &request, next.as_ref())?;
        Ok(v1::ListAuditEventsResponse { events, next_page_token })
    }
}
