//! The console: pages for people, under `/console/` of the HTTP door.
//!
//! It has no rules of its own. A handler builds a request of the API and passes it, with the caller of the session, to
//! the service that answers the RPC of that name. So permissions, accounts, policies, idempotency, audit and
//! propagation are those of the API, and so are the errors, which the pages show beside their fields.
//!
//! - Pages are templates (`templates/console`), and work without JavaScript. `assets/console` has the only stylesheet
//!   and the scripts. Templates escape every value, and the content security policy forbids everything inline.
//! - A session is a sealed cookie ([`session`]). Each request is authorized again from memory ([`admit`]), so a session
//!   ends with the key of its caller.
//! - A change needs a POST from this site with the form token of the session ([`origin`]).
//!
//! - A portal session ([`portal`]) is the same for one user of a product: its caller's rights, narrowed to one account.
//!
//! To add a page: a template, a module in `pages`, and its route in [`router`].

mod admit;
mod answer;
mod arrival;
mod assets;
mod failure;
mod fields;
mod frame;
mod notice;
mod origin;
mod pages;
mod portal;
mod router;
mod session;
mod shared;
mod show;
mod sign_in;
mod throttle;
mod visit;

pub(crate) use router::routes;
pub(crate) use shared::ConsoleSettings;
