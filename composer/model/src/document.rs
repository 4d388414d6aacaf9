//! TOML documents people write: several files with one line of spans, a strict shape, and faults
//! that know their place. Shared by recipes, targets and overlays; knows the keys of none.
//!
//! Text is UTF-8; a byte order mark and CRLF line ends are accepted. At most 1 MiB a file, 80 levels
//! deep. Source: TOML 1.1.

pub mod checker;
pub mod fault;
pub mod nearest;
pub mod shape;
pub mod source;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::fault::{Fault, Place};
use crate::document::source::{FileId, Sources, Span};

/// More than this is no document a person wrote.
pub const MAX_BYTES: usize = 1 << 20;

/// Parses one file into a table whose spans count over all files of `sources`.
///
/// # Errors
/// Every fault of syntax found.
pub fn parse(sources: &Sources, file: FileId) -> Result<DeTable<'_>, Vec<Fault>> {
    let base = sources.whole(file).start;
    let text = sources.text(file);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax(file, base, text, error)).collect());
    }
    Ok(shift_table(table.into_inner(), base))
}

/// Makes the document type of a table that [`shape::check`] has found good.
///
/// # Errors
/// One fault, where the type wants more than the shape could say.
pub fn read<T: DeserializeOwned>(table: DeTable<'_>, file: FileId) -> Result<T, Fault> {
    T::deserialize(toml::de::Deserializer::from(Spanned::new(0..0, table))).map_err(|error| {
        let place = error.span().filter(|span| !span.is_empty()).map(|span| Place::Span(Span::from(span)));
        Fault::new(place.unwrap_or(Place::File(file)), error.message())
    })
}

fn syntax(file: FileId, base: usize, text: &str, error: &toml::de::Error) -> Fault {
    let message = match error.message() {
        "duplicate key" => "key given twice",
        other => other,
    };
    match error.span() {
        Some(span) => {
            let end = text.len();
            Fault::new(Span { start: base + span.start.min(end), end: base + span.end.min(end) }, message)
        }
        None => Fault::new(Place::File(file), message),
    }
}

fn shift_table(table: DeTable<'_>, base: usize) -> DeTable<'_> {
    table
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            (Spanned::new(span.start + base..span.end + base, key.into_inner()), shift(value, base))
        })
        .collect()
}

fn shift(value: Spanned<DeValue<'_>>, base: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let shifted = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, base)),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|item| shift(item, base)).collect()),
        scalar => scalar,
    };
    Spanned::new(span.start + base..span.end + base, shifted)
}
