//! Patterns for DNS record names, label by label.
//!
//! `*` is exactly one label and `**` one or more; anything else is exact and is canonicalised like
//! a record name. A DNS wildcard record is matched only by an escaped star, `\*`: neither `*` nor
//! `**` matches a label that is itself `*`, so that whoever may write any single name cannot write
//! the one that answers for all of them.

use std::borrow::Cow;
use std::fmt;

use super::RecordName;
use super::record_name::{InvalidName, canonical_label, is_dot, is_plainly_canonical};

/// Why a text is not a pattern for record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// A `*` inside a label.
    #[error("`*` and `**` stand for whole labels; a `*` inside a label is not possible")]
    StarInLabel,
    /// An escaped star that is not the first label.
    #[error("`\\*` can only be the first label: there are no other wildcard records")]
    StarNotFirst,
    /// A label that no record name can have.
    #[error(transparent)]
    Label(InvalidName),
}

/// A pattern for the full canonical name of a DNS record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPattern(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Without wildcards: one name, which may be that of a DNS wildcard record.
    Exact(Box<str>),
    Labels(Box<[Label]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    /// `*`
    One,
    /// `**`
    Many,
    /// A canonical label, or `*` for the escaped star.
    Exact(Box<str>),
}

impl RecordPattern {
    /// Reads a pattern. One trailing dot is ignored.
    ///
    /// # Errors
    /// Misplaced stars, and labels that no record name can have.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if let Some(exact) = Self::exact_name(text)? {
            return Ok(Self(Form::Exact(exact.into())));
        }
        let labels = labels(text).map(|(index, label)| match label {
            "*" => Ok(Label::One),
            "**" => Ok(Label::Many),
            _ => exact_label(index, label).map(|label| Label::Exact(label.into())),
        });
        Ok(Self(Form::Labels(labels.collect::<Result<_, _>>()?)))
    }

    /// The one name that a pattern without wildcards matches, borrowed where it is written as it is
    /// compared. `None` for a pattern with wildcards, of which nothing else is checked.
    ///
    /// # Errors
    /// Those of [`RecordPattern::parse`].
    pub fn exact_name(text: &str) -> Result<Option<Cow<'_, str>>, InvalidPattern> {
        if is_plainly_canonical(text) {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let labels = labels(text);
        if labels.clone().any(|(_, label)| matches!(label, "*" | "**")) {
            return Ok(None);
        }
        let mut exact = String::with_capacity(text.len());
        for (index, label) in labels {
            if index > 0 {
                exact.push('.');
            }
            exact.push_str(&exact_label(index, label)?);
        }
        Ok(Some(Cow::Owned(exact)))
    }

    /// The one name it matches, when it has no wildcards.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Form::Exact(name) => Some(name),
            Form::Labels(_) => None,
        }
    }

    /// Whether it matches the whole of `name`.
    #[must_use]
    pub fn matches(&self, name: &RecordName) -> bool {
        match &self.0 {
            Form::Exact(exact) => **exact == *name.as_str(),
            Form::Labels(pattern) => matches_labels(pattern, name.labels()),
        }
    }
}

/// The labels of a pattern, without one trailing dot.
fn labels(text: &str) -> impl Iterator<Item = (usize, &str)> + Clone {
    let text = text.strip_suffix(is_dot).unwrap_or(text);
    text.split(is_dot).enumerate()
}

/// A label that stands for itself.
fn exact_label(index: usize, label: &str) -> Result<Cow<'_, str>, InvalidPattern> {
    match label {
        "\\*" if index == 0 => Ok(Cow::Borrowed("*")),
        "\\*" => Err(InvalidPattern::StarNotFirst),
        _ => canonical_label(label).map_err(|error| match error {
            InvalidName::Star => InvalidPattern::StarInLabel,
            error => InvalidPattern::Label(error),
        }),
    }
}

impl Label {
    /// Whether it matches this one label.
    fn matches(&self, label: &str) -> bool {
        match self {
            Self::One | Self::Many => label != "*",
            Self::Exact(exact) => **exact == *label,
        }
    }
}

/// Matches with backtracking to the last `**` only, which is enough: an earlier one could only take
/// over labels that the last one can take as well. So the time is at most the product of the two
/// lengths.
fn matches_labels<'n>(pattern: &[Label], mut name: impl Iterator<Item = &'n str> + Clone) -> bool {
    let mut rest = pattern;
    let mut retry: Option<(&[Label], _)> = None;
    loop {
        match (rest.split_first(), name.next()) {
            (None, None) => return true,
            (Some((label, tail)), Some(text)) if label.matches(text) => {
                rest = tail;
                if *label == Label::Many {
                    retry = Some((tail, name.clone()));
                }
            }
            // No label left for what the pattern still wants: taking more would not help.
            (Some(_), None) => return false,
            (_, Some(_)) => {
                // Let the last `**` take one label more.
                let Some((tail, mut longer)) = retry.take() else {
                    return false;
                };
                match longer.next() {
                    Some(text) if Label::Many.matches(text) => {
                        rest = tail;
                        name = longer.clone();
                        retry = Some((tail, longer));
                    }
                    _ => return false,
                }
            }
        }
    }
}

impl fmt::Display for RecordPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Exact(name) => match name.strip_prefix('*') {
                Some(rest) => write!(f, "\\*{rest}"),
                None => f.write_str(name),
            },
            Form::Labels(labels) => {
                for (index, label) in labels.iter().enumerate() {
                    if index > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(match label {
                        Label::One => "*",
                        Label::Many => "**",
                        Label::Exact(label) if **label == *"*" => "\\*",
                        Label::Exact(label) => label,
                    })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, names: &[(&str, bool)]) {
        let parsed = RecordPattern::parse(pattern).unwrap();
        for (name, expected) in names {
            let record = RecordName::canonical(name, "example.com").unwrap();
            assert_eq!(parsed.matches(&record), *expected, "{pattern} on {record}");
        }
    }

    #[test]
    fn a_star_is_one_label_and_two_are_one_or_more() {
        check(
            "*.example.com",
            &[
                ("a", true),
                ("@", false),
                ("a.b", false),
                ("*", false),
                ("_dmarc", true),
            ],
        );
        check(
            "**.example.com",
            &[
                ("a", true),
                ("@", false),
                ("a.b.c", true),
                ("*", false),
                ("*.a", false),
            ],
        );
        check(
            "_acme-challenge.**",
            &[
                ("_acme-challenge", true),
                ("_acme-challenge.a.b", true),
                ("a._acme-challenge", false),
                ("@", false),
            ],
        );
        check("**", &[("@", true), ("a", true), ("*", false)]);
        check(
            "**.x.**",
            &[
                ("a.x", true),
                ("x", false),
                ("x.x.x", true),
                ("a.b.x", true),
                ("a.b", false),
            ],
        );
        check(
            "**.a.*.com",
            &[("x.a", true), ("x.a.a", true), ("a.x", false)],
        );
        check(
            "**.**.example.com",
            &[("a", false), ("a.b", true), ("a.b.c", true)],
        );
    }

    #[test]
    fn only_an_escaped_star_matches_a_wildcard_record() {
        check(
            "\\*.example.com",
            &[("*", true), ("a", false), ("*.a", false)],
        );
        check(
            "\\*.*.example.com",
            &[("*.a", true), ("*", false), ("b.a", false)],
        );
        check("\\*.**", &[("*", true), ("*.a.b", true), ("a", false)]);
        assert_eq!(
            RecordPattern::parse("\\*.example.com").unwrap().exact(),
            Some("*.example.com")
        );
    }

    #[test]
    fn an_exact_pattern_is_canonicalised_and_matches_nothing_else() {
        check(
            "WWW.Example.com.",
            &[("www", true), ("w", false), ("www.www", false)],
        );
        check(
            "bücher.example.com",
            &[("xn--bcher-kva", true), ("BÜCHER", true)],
        );
        check("www", &[("www", false)]);
    }

    #[test]
    fn misplaced_stars_and_impossible_labels_are_errors() {
        for (text, error) in [
            ("a*.example.com", InvalidPattern::StarInLabel),
            ("***", InvalidPattern::StarInLabel),
            ("＊.example.com", InvalidPattern::StarInLabel),
            ("\\**.example.com", InvalidPattern::StarInLabel),
            ("a.\\*.example.com", InvalidPattern::StarNotFirst),
            ("", InvalidPattern::Label(InvalidName::EmptyLabel)),
            ("a..b", InvalidPattern::Label(InvalidName::EmptyLabel)),
            ("@", InvalidPattern::Label(InvalidName::Character)),
            (
                "a?.example.com",
                InvalidPattern::Label(InvalidName::Character),
            ),
            (
                "xn--www-.example.com",
                InvalidPattern::Label(InvalidName::Idna),
            ),
        ] {
            assert_eq!(RecordPattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_displayed_as_it_is_read() {
        for text in [
            "_acme-challenge.**",
            "\\*.example.com",
            "\\*.*.example.com",
            "*.a.**",
            "www.example.com",
        ] {
            assert_eq!(RecordPattern::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn many_wildcards_do_not_take_long() {
        let pattern =
            RecordPattern::parse(&format!("{}b.example.com", "**.a.".repeat(20))).unwrap();
        let name =
            RecordName::canonical("a.".repeat(100).trim_end_matches('.'), "example.com").unwrap();
        assert!(!pattern.matches(&name));
    }
}
