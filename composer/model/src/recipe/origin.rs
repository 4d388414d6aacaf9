//! Where every effective value of a recipe comes from.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::shape::join_key;
use crate::document::source::{Sources, Span};

/// Key paths, each with its value and origin. Lists have one entry for each text, under
/// `key[text]`; archives are under `archive[name]`.
pub type Origins = BTreeMap<String, Effective>;

/// A value that applies, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The value as TOML would show it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A recipe says so.
    Typed {
        /// What the file is called.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// No recipe says otherwise.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The origins of all values of a merged table.
#[must_use]
pub fn of(sources: &Sources, table: &DeTable<'_>) -> Origins {
    let mut origins = Origins::new();
    add_table(sources, table, "", &mut origins);
    origins
}

fn add_table(sources: &Sources, table: &DeTable<'_>, path: &str, origins: &mut Origins) {
    for (key, value) in table {
        add(sources, value, join_key(path, key.get_ref()), origins);
    }
}

fn add(sources: &Sources, value: &Spanned<DeValue<'_>>, path: String, origins: &mut Origins) {
    let shown = match value.get_ref() {
        DeValue::Table(table) => return add_table(sources, table, &path, origins),
        DeValue::Array(items) if !items.is_empty() => {
            for item in items {
                let table = item.get_ref().as_table();
                let named = table.and_then(|table| table.get("name")).map_or(item, |name| name);
                let path = format!("{path}[{}]", named.get_ref().as_str().unwrap_or_default());
                add(sources, item, path, origins);
            }
            return;
        }
        DeValue::Array(_) => "[]".to_owned(),
        DeValue::String(text) => format!("\"{}\"", text.escape_debug()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
    };
    let Some(at) = sources.locate(Span::from(value.span())) else { return };
    let origin = Origin::Typed { file: at.path.to_owned(), line: at.line, column: at.column };
    origins.insert(path, Effective { value: shown, origin });
}
