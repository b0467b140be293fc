//! Creating an account.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use http::StatusCode;
use key_authority_domain::permission::Permission;
use key_authority_proto::v1::key_authority_server::KeyAuthority as _;
use key_authority_proto::v1::{Account, CreateAccountRequest, KeyPolicy};

use super::create::request_id;
use super::key_form::Field;
use crate::console::answer::{Answer, finish, page_with};
use crate::console::failure::{Failure, sentence};
use crate::console::frame::Frame;
use crate::console::show;
use crate::console::visit::Visit;

#[derive(Template)]
#[template(path = "console/new_account.html")]
struct NewAccountPage {
    frame: Frame,
    request_id: String,
    id: Field,
    name: Field,
    prefix: Field,
    /// Errors that belong to no field.
    errors: Vec<String>,
}

impl NewAccountPage {
    fn new(visit: &Visit) -> Result<Self, Failure> {
        let typed = &visit.fields;
        let field = |name, rule| Field::new(typed.get(name).trim(), rule);
        Ok(Self {
            frame: Frame::new(visit, "Create account"),
            request_id: request_id()?,
            id: field("id", "Letters, digits and . _ - : @, at most 64 characters. It can never be changed or reused."),
            name: field("name", "A label for people, at most 200 characters."),
            prefix: field("prefix", "Lower-case words, each followed by _, such as shop_. Empty: ka_."),
            errors: Vec::new(),
        })
    }

    /// Attributes a failed call to the fields.
    fn place(mut self, failure: &Failure) -> Answer {
        for (path, rule) in &failure.violations {
            let field = match path.as_str() {
                "account.id" => &mut self.id,
                "account.display_name" => &mut self.name,
                "account.policy.token_prefix" => &mut self.prefix,
                _ => {
                    self.errors.push(sentence(rule));
                    continue;
                }
            };
            field.add_error(&sentence(rule));
        }
        match failure.reason.as_str() {
            "ACCOUNT_EXISTS" => self.id.add_error(&failure.sentence()),
            _ if failure.violations.is_empty() => self.errors.push(failure.sentence()),
            _ => {}
        }
        let first = [&mut self.id, &mut self.name, &mut self.prefix].into_iter().find(|field| !field.error.is_empty());
        if let Some(field) = first {
            field.is_first_error = true;
        }
        page_with(StatusCode::UNPROCESSABLE_ENTITY, &self)
    }
}

fn check(visit: &Visit) -> Result<(), Failure> {
    let message = "You may not create accounts.";
    if visit.has(Permission::AccountsWrite) { Ok(()) } else { Err(Failure::not_permitted(message)) }
}

/// `GET /console/create-account`
pub(in crate::console) async fn form(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    check(&visit)?;
    page_with(StatusCode::OK, &NewAccountPage::new(&visit)?)
}

/// `POST /console/create-account`
pub(in crate::console) async fn submit(Extension(visit): Extension<Arc<Visit>>) -> Answer {
    check(&visit)?;
    let form = NewAccountPage::new(&visit)?;
    let policy = KeyPolicy { token_prefix: form.prefix.value.clone(), ..KeyPolicy::default() };
    let account = Account {
        id: form.id.value.clone(),
        display_name: form.name.value.clone(),
        policy: Some(policy),
        ..Account::default()
    };
    let request =
        CreateAccountRequest { account: Some(account), request_id: visit.fields.get("request_id").to_owned() };
    let created = visit.ask(visit.admin().create_account(visit.request(request))).await;
    match created {
        Err(failure)
            if failure.pending_revision().is_none() && !failure.is_outage() && !failure.is_unauthenticated() =>
        {
            form.place(&failure)
        }
        created => {
            let to = show::path(&["accounts", &form.id.value]);
            finish(&visit, &to, "Account created.", created.map(|created| created.propagation))
        }
    }
}
