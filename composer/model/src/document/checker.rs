//! From typed to meant, value by value: each either checks or leaves a fault, and the rest goes on.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;

use crate::document::fault::{Fault, Place};
use crate::document::nearest::nearest;
use crate::document::source::{FileId, Span};

/// Text with its place, the commonest value of a document.
pub type Text = Spanned<String>;

/// Keys that nothing was typed for, each with the value that applies.
pub type Defaults = Vec<(String, String)>;

/// Collects the faults of a document while it is being checked.
#[derive(Debug)]
pub struct Checker {
    file: FileId,
    faults: Vec<Fault>,
    defaults: Defaults,
}

impl Checker {
    /// A checker for a document; what is missing from it is reported against `file`.
    #[must_use]
    pub const fn new(file: FileId) -> Self {
        Self { file, faults: Vec::new(), defaults: Vec::new() }
    }

    /// Notes a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Notes a fault of a value.
    pub fn fault_at<T>(&mut self, value: &Spanned<T>, message: impl Into<String>) {
        self.faults.push(Fault::new(Span::from(value.span()), message));
    }

    /// Notes that a key is missing.
    pub fn missing(&mut self, key: &str, hint: &str) {
        let fault = Fault::new(Place::File(self.file), format!("missing key `{key}`"));
        self.faults.push(fault.hint(hint));
    }

    /// The value of a key that must be there.
    pub fn require<T>(&mut self, value: Option<T>, key: &str, hint: &str) -> Option<T> {
        if value.is_none() {
            self.missing(key, hint);
        }
        value
    }

    /// A parsed value, or a fault.
    pub fn parse<T: FromStr<Err: Display>>(&mut self, text: &Text) -> Option<T> {
        text.get_ref().parse().map_err(|error: T::Err| self.fault_at(text, error.to_string())).ok()
    }

    /// A parsed value that must be there.
    pub fn parse_required<T: FromStr<Err: Display>>(
        &mut self,
        text: Option<&Text>,
        key: &str,
        hint: &str,
    ) -> Option<T> {
        let text = self.require(text, key, hint)?;
        self.parse(text)
    }

    /// A parsed value, or its default where nothing is typed. A fault gives the default, too.
    pub fn parse_or<T: FromStr<Err: Display> + Display>(
        &mut self,
        text: Option<&Text>,
        key: &str,
        default: T,
    ) -> T {
        match text {
            Some(text) => self.parse(text).unwrap_or(default),
            None => self.default_text(key, default),
        }
    }

    /// Notes that a default applies, and gives it back.
    pub fn default<T: Display>(&mut self, key: &str, default: T) -> T {
        self.defaults.push((key.to_owned(), default.to_string()));
        default
    }

    /// Notes that a default applies that would be typed in quotes, and gives it back.
    pub fn default_text<T: Display>(&mut self, key: &str, default: T) -> T {
        self.default(key, format_args!("\"{default}\""));
        default
    }

    /// One of a closed set of words, the first being the default where nothing is typed.
    pub fn choose<T: Copy, const N: usize>(
        &mut self,
        text: Option<&Text>,
        key: &str,
        choices: [(&'static str, T); N],
    ) -> T {
        let (word, default) = choices[0];
        let Some(text) = text else {
            self.default_text(key, word);
            return default;
        };
        self.choice(text, key, &choices).unwrap_or(default)
    }

    /// One of a closed set of words, or a fault.
    pub fn choice<T: Copy>(&mut self, text: &Text, key: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let typed = text.get_ref();
        if let Some((_, value)) = choices.iter().find(|(word, _)| word == typed) {
            return Some(*value);
        }
        let words = || choices.iter().map(|(word, _)| *word);
        let message = format!("`{}` is no value of `{key}`", typed.escape_debug());
        let hint = match nearest(typed, words()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                format!("use {}", words().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "))
            }
        };
        self.fault(Fault::new(Span::from(text.span()), message).hint(hint));
        None
    }

    /// The values of a list, in order; one that is there twice is a fault.
    pub fn list<T: FromStr<Err: Display>>(&mut self, list: &[Text]) -> Vec<T> {
        let mut values = Vec::with_capacity(list.len());
        let mut seen = std::collections::BTreeMap::new();
        for text in list {
            if let Some(first) = seen.insert(text.get_ref().as_str(), text) {
                let fault = Fault::new(
                    Span::from(text.span()),
                    format!("`{}` is listed twice", text.get_ref().escape_debug()),
                );
                self.fault(fault.related(Span::from(first.span()), "first here"));
            } else {
                values.extend(self.parse(text));
            }
        }
        values
    }

    /// The values of a list whose order means nothing, sorted.
    pub fn set<T: FromStr<Err: Display> + Ord>(&mut self, list: Option<&Vec<Text>>) -> Vec<T> {
        let mut values = list.map_or_else(Vec::new, |list| self.list(list));
        values.sort();
        values
    }

    /// A sentence for people: one line, not empty.
    pub fn sentence(&mut self, text: Option<&Text>, key: &str) -> Option<String> {
        let text = self.require(text, key, "say in one line what it is")?;
        let good = !text.get_ref().trim().is_empty() && !text.get_ref().chars().any(char::is_control);
        if !good {
            self.fault_at(text, format!("`{key}` wants one line of text"));
        }
        good.then(|| text.get_ref().clone())
    }

    /// A name that must be among those known.
    pub fn known<'k>(
        &mut self,
        text: &Text,
        kind: &str,
        known: impl IntoIterator<Item = &'k str, IntoIter: Clone>,
    ) {
        let typed = text.get_ref();
        let known = known.into_iter();
        if known.clone().any(|name| name == typed) {
            return;
        }
        let fault = Fault::new(Span::from(text.span()), format!("unknown {kind} `{}`", typed.escape_debug()));
        self.fault(match nearest(typed, known.clone()) {
            Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
            None if known.clone().next().is_none() => fault.hint(format!("this project has no {kind} yet")),
            None => fault.hint(format!("there are: {}", known.collect::<Vec<_>>().join(", "))),
        });
    }

    /// The value, if no fault was noted, with the defaults that applied.
    ///
    /// # Errors
    /// The faults.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Defaults), Vec<Fault>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok((value, self.defaults)),
            _ => Err(self.faults),
        }
    }
}
