//! The shape of a document, checked against the JSON Schema of its type: keys that are known, and
//! values of the right kind. All faults at once, where deserialising would stop at the first.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::fault::Fault;
use crate::document::nearest::nearest;
use crate::document::source::Span;

/// Checks a table against a schema that schemars made of a document type.
#[must_use]
pub fn check(table: &DeTable<'_>, schema: &schemars::Schema) -> Vec<Fault> {
    let mut shape = Shape { root: schema.as_value(), faults: Vec::new() };
    shape.table(table, schema.as_value(), "");
    shape.faults
}

/// A key path with one more key, quoted where TOML wants it.
#[must_use]
pub fn join_key(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

struct Shape<'s> {
    root: &'s Value,
    faults: Vec<Fault>,
}

impl<'s> Shape<'s> {
    fn table(&mut self, table: &DeTable<'_>, schema: &'s Value, path: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
        for (key, value) in table {
            let name: &str = key.get_ref();
            match properties.and_then(|known| known.get(name)).or(additional) {
                Some(schema) => self.value(value, schema, &join_key(path, name)),
                None => {
                    let known = || properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
                    self.faults.push(unknown_key(key, path, known));
                }
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &'s Value, path: &str) {
        let schema = self.resolve(schema);
        let wanted = kind_of_schema(schema);
        match (wanted, value.get_ref()) {
            ("object", DeValue::Table(table)) => self.table(table, schema, path),
            ("array", DeValue::Array(array)) => {
                if let Some(items) = schema.get("items") {
                    array.iter().for_each(|item| self.value(item, items, path));
                }
            }
            ("string", DeValue::String(_))
            | ("integer", DeValue::Integer(_))
            | ("boolean", DeValue::Boolean(_)) => {}
            (_, found) => {
                let message = format!("`{path}` wants {}, found {}", words(wanted), kind_of_value(found));
                self.faults.push(Fault::new(Span::from(value.span()), message));
            }
        }
    }

    /// Follows references, and takes the part of an optional schema that is not null.
    fn resolve(&self, schema: &'s Value) -> &'s Value {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointed = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return pointed.map_or(schema, |schema| self.resolve(schema));
        }
        let choices = schema.get("anyOf").and_then(Value::as_array);
        let real = choices.and_then(|all| all.iter().find(|one| one.get("type") != Some(&"null".into())));
        real.map_or(schema, |schema| self.resolve(schema))
    }
}

fn unknown_key<'k, I: Iterator<Item = &'k str>>(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    path: &str,
    known: impl Fn() -> I,
) -> Fault {
    let name: &str = key.get_ref();
    let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
    let fault = Fault::new(Span::from(key.span()), format!("unknown key `{}`{place}", name.escape_debug()));
    match nearest(name, known()) {
        Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
        None => fault.hint(format!("known here: {}", known().collect::<Vec<_>>().join(", "))),
    }
}

fn kind_of_schema(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    }
}

fn words(kind: &str) -> &str {
    match kind {
        "object" => "a table",
        "array" => "a list",
        "string" => "text in quotes",
        "integer" => "a whole number",
        "boolean" => "true or false",
        other => other,
    }
}

const fn kind_of_value(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
