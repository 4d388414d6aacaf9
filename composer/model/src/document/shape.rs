//! The shape of a document, checked against the JSON Schema of its type: keys that are known, and
//! values of the right kind. All faults at once, where deserialising would stop at the first.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::fault::Fault;
use crate::document::nearest::nearest;
use crate::document::source::Span;

/// The JSON Schema of a document type, without `null`, which TOML does not have.
#[must_use]
pub fn of<T: schemars::JsonSchema>() -> schemars::Schema {
    let mut schema = schemars::schema_for!(T).to_value();
    drop_null(&mut schema);
    // A table stays a table, which is a schema.
    schemars::Schema::try_from(schema).unwrap_or_default()
}

/// Removes `null` from types, and takes an optional reference for the reference itself.
fn drop_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(keys) => {
            if let Some(Value::Array(kinds)) = keys.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = &mut kinds[..] {
                    let kind = kind.take();
                    keys.insert("type".to_owned(), kind);
                }
            }
            if let Some(Value::Array(choices)) = keys.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type") != Some(&"null".into()));
                if let [Value::Object(only)] = &mut choices[..] {
                    let only = std::mem::take(only);
                    keys.remove("anyOf");
                    keys.extend(only);
                }
            }
            keys.values_mut().for_each(drop_null);
        }
        _ => {}
    }
}

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

    /// Follows references.
    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).map_or(schema, |schema| self.resolve(schema))
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
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
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
