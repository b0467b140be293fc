//! The console: pages as a browser without scripts gets them. `browser` has the tests with a real one.

mod browser;
mod connect;
mod edits;
mod forms;
mod kept_forms;
mod long_search;
mod lost_answers;
mod own_key;
mod pages;
mod portal;
mod portal_users;
mod renewals;
mod sessions;
mod suspension;

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::support::Authority;
use crate::support::http::{Answer, request, send};

/// What a browser without scripts does: it keeps cookies, follows redirects and fills in forms.
struct Visitor {
    address: String,
    cookies: BTreeMap<String, String>,
    /// The path of the last page.
    path: String,
    page: String,
    status: u16,
}

impl Visitor {
    /// A browser that has opened nothing yet.
    fn new(authority: &Authority) -> Self {
        let (cookies, path, page) = (BTreeMap::new(), String::new(), String::new());
        Self { address: authority.api().to_owned(), cookies, path, page, status: 0 }
    }

    /// A browser that has signed in.
    async fn signed_in(authority: &Authority, token: &str) -> Self {
        let mut visitor = Self::new(authority);
        visitor.open("/console/").await;
        visitor.submit("/console/sign-in", &[("token", token)]).await;
        assert_eq!(visitor.status, 200, "{}", visitor.page);
        visitor
    }

    /// Sends one request.
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [&[("cookie", cookies.as_str())], headers].concat();
        let answer = send(&self.address, request(method, path, &headers, body)).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        self.path = path.to_owned();
        self.status = answer.status;
        self.page = String::from_utf8_lossy(&answer.body).into_owned();
        answer
    }

    /// Opens a page, and follows redirects.
    async fn open(&mut self, path: &str) {
        let mut path = path.to_owned();
        for _ in 0..5 {
            let answer = self.ask("GET", &path, &[("sec-fetch-site", "same-origin")], String::new()).await;
            match answer.header("location") {
                Some(location) => location.clone_into(&mut path),
                None => return,
            }
        }
        panic!("too many redirects to {path}");
    }

    /// Sends the form of the page with this action, with what it contains unless `fields` say otherwise.
    async fn submit(&mut self, action: &str, fields: &[(&str, &str)]) {
        let fields = self.filled_in(action, fields);
        self.post(action, &fields).await;
    }

    /// Sends a form, and follows the redirect.
    async fn post(&mut self, action: &str, fields: &[(String, String)]) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
        let answer = self.ask("POST", action, &headers, body).await;
        if let Some(location) = answer.header("location") {
            let location = location.to_owned();
            self.open(&location).await;
        }
    }

    /// The fields of the form of the page with this action.
    fn filled_in(&self, action: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let start = format!("action=\"{action}\"");
        let form = self.page.split("<form ").find(|form| form.split('>').next().unwrap().contains(&start));
        let form = form.unwrap_or_else(|| panic!("no form for {action} in {}", self.page));
        let form = form.split("</form>").next().unwrap();
        let mut filled: Vec<(String, String)> = form
            .split("<input ")
            .skip(1)
            .filter(|input| {
                let tag = input.split('>').next().unwrap();
                let is_choice = ["checkbox", "radio"].iter().any(|kind| tag.contains(&format!("type=\"{kind}\"")));
                !is_choice || tag.contains("checked")
            })
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())))
            .collect();
        for area in form.split("<textarea ").skip(1) {
            let (name, value) = (attribute(area, "name"), area.split_once('>').unwrap().1);
            let value = value.split("</textarea>").next().unwrap();
            // HTML ignores the first line break.
            filled.extend(name.map(|name| (name, unescaped(value.strip_prefix('\n').unwrap_or(value)))));
        }
        filled.retain(|(name, _)| fields.iter().all(|(given, _)| given != name));
        filled.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        filled
    }

    /// The value of the read-only field with this ID.
    fn field(&self, id: &str) -> String {
        let start = format!("id=\"{id}\"");
        let input = self.page.split("<input ").find(|input| input.starts_with(&start));
        attribute(input.unwrap_or_else(|| panic!("no field {id} in {}", self.page)), "value").unwrap_or_default()
    }

    /// The address of the link with this text, without its fragment.
    #[track_caller]
    fn link(&self, text: &str) -> String {
        let found = self.page.split("<a ").find(|link| link.contains(&format!(">{text}</a>")));
        let found = found.unwrap_or_else(|| panic!("no link {text:?} on {}: {}", self.path, self.page));
        attribute(found, "href").unwrap().split('#').next().unwrap().to_owned()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        assert!(self.page.contains(text), "{text:?} is not on {} ({}): {}", self.path, self.status, self.page);
    }

    #[track_caller]
    fn does_not_see(&self, text: &str) {
        assert!(!self.page.contains(text), "{text:?} is on {}: {}", self.path, self.page);
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    Some(unescaped(value.split('"').next()?))
}

fn unescaped(text: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}
