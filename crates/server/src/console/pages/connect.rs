//! Connecting an AI client to an MCP server with a key of the account.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use key_authority_domain::id::SYSTEM_ACCOUNT;
use key_authority_mcp_connect::{Endpoint, Instruction, ServerName};
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{
    Account, CreateKeyRequest, KeyState, ListKeysRequest, PrepareConnectionRequest, PrepareConnectionResponse,
    TokenSource,
};

use super::accounts::room;
use super::create::{advice, request_id};
use super::created::TokenCard;
use super::expiry::ExpiryMenu;
use super::instructions::{ClientChoice, InstructionView, chosen_client, client_choices};
use super::key_form::{Field, policy};
use super::key_view::KeyView;
use super::lost;
use crate::console::answer::{Answer, enforced, page_with, redirect};
use crate::console::failure::{Failure, sentence};
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::{Ability, Visit};
use crate::wire::connect::{client_of_proto, instruction_to_proto};

/// The number of keys that can be chosen.
const KEYS_MAX: i32 = 200;

#[derive(Template)]
#[template(path = "console/connect.html")]
struct ConnectPage {
    frame: Frame,
    account: String,
    account_href: String,
    connect_href: String,
    instructions_href: String,
    create_href: String,
    may_create: bool,
    clients: Vec<ClientChoice>,
    /// The active keys, the newest first.
    keys: Vec<KeyView>,
    chosen: String,
    /// When a key expires that is created here; empty if somebody has to choose that.
    expires: String,
    server_name: Field,
    server_url: Field,
    errors: Vec<String>,
    request_id: String,
    /// The new token that the instructions contain, where the page has one.
    token: String,
    /// The key that this form has just created.
    card: Option<TokenCard>,
    instruction: Option<InstructionView>,
    /// What the instruction contains.
    source: String,
    /// Where the key of the instruction gets another token; empty where the visitor needs none or may not.
    renew_href: String,
}

impl ConnectPage {
    async fn new(visit: &Visit, account: &Account) -> Result<Self, Failure> {
        let request = ListKeysRequest {
            account: account.id.clone(),
            states: vec![KeyState::Active.into()],
            page_size: KEYS_MAX,
            ..Default::default()
        };
        let listed = visit.ask(visit.admin().list_keys(visit.request(request))).await?;
        let typed = &visit.fields;
        Ok(Self {
            frame: Frame::new(visit, "Connect to an AI agent"),
            account: account.id.clone(),
            account_href: show::path(&["accounts", &account.id]),
            connect_href: show::path(&["accounts", &account.id, "connect"]),
            instructions_href: show::path(&["accounts", &account.id, "instructions"]),
            create_href: show::path(&["accounts", &account.id, "create"]),
            may_create: visit.may(Ability::Create),
            clients: client_choices(typed.get("client")),
            keys: listed.keys.iter().map(|key| KeyView::new(key, visit.now)).collect(),
            chosen: typed.get("key").to_owned(),
            expires: ExpiryMenu::unchosen(&policy(account)).unwrap_or_default(),
            server_name: Field::new(
                typed.get("server_name"),
                "What the client calls the server: letters, digits, - and _, such as my-server.",
            ),
            server_url: Field::new(typed.get("server_url"), "The address of the MCP server, such as https://…/mcp."),
            errors: Vec::new(),
            request_id: request_id()?,
            token: String::new(),
            card: None,
            instruction: None,
            source: String::new(),
            renew_href: String::new(),
        })
    }

    /// Whether there is a key to connect with, or one can be created here.
    const fn has_form(&self) -> bool {
        let may_create_here = self.may_create && !self.expires.is_empty();
        may_create_here || !self.keys.is_empty() || !self.token.is_empty()
    }

    /// Shows the instruction for the chosen client with the token of the page.
    fn instruct(&mut self, visit: &Visit) {
        let typed = &visit.fields;
        let name = ServerName::new(typed.get("server_name").trim());
        let url = Endpoint::new(typed.get("server_url").trim());
        if let Err(error) = &name {
            self.add("server_name", error.as_str());
        }
        if let Err(error) = &url {
            self.add("url", error.as_str());
        }
        if let (Ok(name), Ok(url), Some(client)) = (name, url, client_of_proto(chosen_client(typed.get("client")))) {
            let instruction = instruction_to_proto(Instruction::new(client, &name, &url, &self.token));
            self.instruction = Some(InstructionView::new(&instruction));
        }
    }

    /// Says what the instruction contains; empty without an instruction.
    fn contains(&self, token: &str) -> String {
        self.instruction.as_ref().map(|instruction| instruction.contains(token)).unwrap_or_default()
    }

    /// Attributes the errors of a failed call.
    fn place(&mut self, failure: &Failure) {
        for (field, rule) in &failure.violations {
            self.add(field, rule);
        }
        if failure.violations.is_empty() {
            self.errors.push(failure.sentence());
        }
    }

    /// Attributes an error to a field, by the name that the API has for it.
    fn add(&mut self, field: &str, rule: &str) {
        let field = match field {
            // A new key is named after the server.
            "server_name" | "display_name" => &mut self.server_name,
            "url" => &mut self.server_url,
            _ => {
                self.errors.push(sentence(rule));
                return;
            }
        };
        field.add_error(&sentence(rule));
        self.server_name.is_first_error = !self.server_name.error.is_empty();
        self.server_url.is_first_error = !self.server_name.is_first_error;
    }

    fn answer(self) -> Answer {
        let is_wrong =
            !self.errors.is_empty() || !self.server_name.error.is_empty() || !self.server_url.error.is_empty();
        let status = if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        page_with(status, &self)
    }
}

/// Reads the account, unless its keys are for callers of this authority: nobody should give such a token to a server of
/// somebody else.
async fn connectable(visit: &Visit, account: &str) -> Result<Account, Failure> {
    if account == SYSTEM_ACCOUNT {
        let message = "The keys of account system are for callers of this authority. Connect an AI agent with a key of \
                       another account.";
        return Err(Failure::nothing_here(message));
    }
    visit.account(account).await
}

/// `GET /console/accounts/{account}/connect`
pub(in crate::console) async fn form(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    let account = connectable(&visit, &account).await?;
    ConnectPage::new(&visit, &account).await?.answer()
}

/// `POST /console/accounts/{account}/connect`
pub(in crate::console) async fn submit(Extension(visit): Extension<Arc<Visit>>, Path(account): Path<String>) -> Answer {
    let account = connectable(&visit, &account).await?;
    let typed = &visit.fields;
    // A key is created by a call of its own, whose response has the token by itself.
    let request = PrepareConnectionRequest {
        account: account.id.clone(),
        client: chosen_client(typed.get("client")).into(),
        server_name: typed.get("server_name").trim().to_owned(),
        url: typed.get("server_url").trim().to_owned(),
        key_id: typed.get("key").to_owned(),
        ..Default::default()
    };
    let prepared = visit.ask(visit.admin().prepare_connection(visit.request(request))).await;
    let has_no_key = prepared.as_ref().is_ok_and(|prepared| prepared.token_source() == TokenSource::NoKey);
    if has_no_key && typed.get("create") == "yes" {
        return create(&visit, &account).await;
    }
    let mut page = ConnectPage::new(&visit, &account).await?;
    match prepared {
        Ok(prepared) => {
            let has_key = prepared.token_source() != TokenSource::NoKey;
            page.instruction = prepared.instructions.first().filter(|_| has_key).map(InstructionView::new);
            page.source = source(&page, &prepared);
            let lacks_token = matches!(prepared.token_source(), TokenSource::NotKept | TokenSource::NotPermitted);
            if let Some(key) = prepared.key.as_ref().filter(|_| lacks_token && visit.may(Ability::Renew)) {
                page.renew_href = show::path(&["keys", &key.id, "renew"]);
            }
        }
        Err(failure) if failure.violations.is_empty() && failure.reason != "KEY_NOT_ACTIVE" => return Err(failure),
        Err(failure) => page.place(&failure),
    }
    page.answer()
}

/// Creates a key that is named after the server, and shows its token and the instructions.
async fn create(visit: &Visit, account: &Account) -> Answer {
    let typed = &visit.fields;
    let request = CreateKeyRequest {
        account: account.id.clone(),
        display_name: typed.get("server_name").trim().to_owned(),
        request_id: typed.get("request_id").to_owned(),
        ..Default::default()
    };
    // Built before the call: only its answer has the token, and what fails after it would lose that.
    let mut page = ConnectPage::new(visit, account).await?;
    let created = visit.ask(visit.admin().create_key(visit.request(request))).await;
    match created {
        Ok(created) if created.token.is_empty() => {
            "This form was sent before, and the token was shown then, unless that answer was lost. It is not shown \
             again. If nobody saved it, renew the key in the list of keys."
                .clone_into(&mut page.source);
        }
        Ok(created) => {
            let key = KeyView::new(&created.key.unwrap_or_default(), visit.now);
            let line = created.propagation.as_ref().map(|propagation| enforced(visit, propagation)).unwrap_or_default();
            page.token.clone_from(&created.token);
            page.instruct(visit);
            let contains = page.contains("its token");
            page.source = format!("The key “{}” was created. {line} {contains}", show::isolated(&key.name));
            page.card = Some(TokenCard::new(key, created.token, policy(account).recoverable));
        }
        Err(failure) if failure.pending_revision().is_some() => {
            return lost::after_creation(visit, &account.id, &failure);
        }
        Err(failure)
            if failure.is_outage()
                || failure.is_unauthenticated()
                || failure.is_too_many_calls()
                || failure.is_fault() =>
        {
            return Err(failure);
        }
        Err(failure) => {
            page.place(&failure);
            if failure.reason == "KEY_LIMIT_REACHED" {
                page.errors.push(advice(&room(visit, account).await?).to_owned());
            }
        }
    }
    page.answer()
}

/// Returns what the instruction contains.
fn source(page: &ConnectPage, prepared: &PrepareConnectionResponse) -> String {
    let key = prepared.key.as_ref();
    let name = key.map(|key| if key.display_name.is_empty() { &key.id } else { &key.display_name });
    let name = name.map(|name| show::isolated(name)).unwrap_or_default();
    let hint = key.map_or("", |key| key.token_hint.as_str());
    let placeholder = &prepared.placeholder;
    match prepared.token_source() {
        TokenSource::Revealed => {
            let contains = page.contains(&format!("the token of the key “{name}”"));
            let revealed = "The audit trail of the key records that its token was revealed.";
            if contains.is_empty() { revealed.to_owned() } else { format!("{contains} {revealed}") }
        }
        // The page around it says so.
        TokenSource::NoKey => String::new(),
        TokenSource::NotPermitted => {
            format!("Replace {placeholder} by the token of the key “{name}”, which begins with {hint}.")
        }
        TokenSource::NotKept | TokenSource::Created | TokenSource::Repeated | TokenSource::Unspecified => format!(
            "The token of the key “{name}” was shown once, when it was created or renewed, and is not stored. Replace \
             {placeholder} by the token that you saved; it begins with {hint}."
        ),
    }
}

/// `POST /console/accounts/{account}/instructions`: instructions with a token that the page before has just shown.
pub(in crate::console) async fn with_token(
    Extension(visit): Extension<Arc<Visit>>,
    Path(account): Path<String>,
) -> Answer {
    let account = connectable(&visit, &account).await?;
    let mut page = ConnectPage::new(&visit, &account).await?;
    visit.fields.get("token").clone_into(&mut page.token);
    page.instruct(&visit);
    page.source = page.contains("the new token");
    page.answer()
}

/// `GET` of the same path, after a reload: there is no token any more.
pub(in crate::console) async fn to_form(Path(account): Path<String>) -> Response {
    redirect(&show::path(&["accounts", &account, "connect"]))
}
