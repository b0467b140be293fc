//! The fields of a form or of a query.

use url::form_urlencoded;

/// The fields, in their order. A name may occur several times.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses `application/x-www-form-urlencoded`. Browsers send line breaks as CR LF; here they are LF.
    pub(super) fn parse(text: &[u8]) -> Self {
        let pair = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
            (name.into_owned(), value.replace("\r\n", "\n"))
        };
        Self(form_urlencoded::parse(text).map(pair).collect())
    }

    /// Returns the first value of a field; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns all values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the field was sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Returns the lines of a field that are not blank, without surrounding spaces.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        lines(self.get(name)).map(str::to_owned).collect()
    }

    /// Returns all fields.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the fields as text again.
    pub(super) fn encoded(&self) -> String {
        self.encoded_without(&[])
    }

    /// Returns the fields as text again, without those in `left_out`.
    pub(super) fn encoded_without(&self, left_out: &[&str]) -> String {
        let kept = self.pairs().filter(|(name, _)| !left_out.contains(name));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }
}

/// Returns the lines of a text that are not blank, without surrounding spaces.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Returns a query string with the fields that are not empty.
pub(super) fn query<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(set).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name_and_line_breaks_are_one_character() {
        let fields = Fields::parse(b"scopes=read%0D%0A%0D%0A+write+&p=a&p=b&empty=");
        assert_eq!(fields.lines("scopes"), ["read", "write"]);
        assert_eq!(fields.all("p").collect::<Vec<_>>(), ["a", "b"]);
        assert!(fields.has("empty") && !fields.has("other"));
        assert_eq!(fields.encoded_without(&["scopes", "empty"]), "p=a&p=b");
        assert_eq!(query([("q", "a b"), ("state", "")]), "q=a+b");
    }
}
