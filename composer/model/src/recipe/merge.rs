//! Merging a recipe over the one it extends: by key, never by index.
//!
//! Tables merge, key by key. Everything else is replaced. In a list of texts, the entry `"..."` stands
//! for the entries of the extended recipe. Arrays of tables (`[[archive]]`) merge by `name`. A
//! table that is one value (`source`, `key`, `weak-key`) is replaced as a whole. `schema` and `extends` are each
//! file's own.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::document::fault::Fault;
use crate::document::source::Span;

/// Stands in a list for the list of the extended recipe.
pub(super) const REST: &str = "...";

/// Tables that are one value.
const WHOLE: [&str; 3] = ["source", "key", "weak-key"];

/// Lays `upper` over `lower`; for the recipe that extends none, `lower` is empty.
pub(crate) fn merge<'s>(lower: DeTable<'s>, upper: DeTable<'s>, faults: &mut Vec<Fault>) -> DeTable<'s> {
    let mut merged = lower;
    for own in ["schema", "extends"] {
        merged.remove(own);
    }
    merge_table(merged, upper, faults)
}

fn merge_table<'s>(lower: DeTable<'s>, upper: DeTable<'s>, faults: &mut Vec<Fault>) -> DeTable<'s> {
    let mut merged = lower;
    for (key, value) in upper {
        let below = merged.remove_entry(key.get_ref().as_ref()).map(|(_, value)| value);
        let below = below.filter(|_| !WHOLE.contains(&key.get_ref().as_ref()));
        let value = merge_value(below, value, faults);
        merged.insert(key, value);
    }
    merged
}

fn merge_value<'s>(
    lower: Option<Spanned<DeValue<'s>>>,
    upper: Spanned<DeValue<'s>>,
    faults: &mut Vec<Fault>,
) -> Spanned<DeValue<'s>> {
    let span = upper.span();
    let merged = match (lower.map(Spanned::into_inner), upper.into_inner()) {
        (Some(DeValue::Table(lower)), DeValue::Table(upper)) => {
            DeValue::Table(merge_table(lower, upper, faults))
        }
        (_, DeValue::Table(upper)) => DeValue::Table(merge_table(DeTable::new(), upper, faults)),
        (lower, DeValue::Array(upper)) => {
            let lower = match lower {
                Some(DeValue::Array(lower)) => Some(lower),
                _ => None,
            };
            DeValue::Array(if upper.iter().any(|item| item.get_ref().is_table()) {
                merge_named(lower.unwrap_or_else(DeArray::new), upper, faults)
            } else {
                splice(lower, upper, faults)
            })
        }
        (_, scalar) => scalar,
    };
    Spanned::new(span, merged)
}

/// Puts the lower list where the upper one says `"..."`, without entries that the upper one repeats.
fn splice<'s>(lower: Option<DeArray<'s>>, upper: DeArray<'s>, faults: &mut Vec<Fault>) -> DeArray<'s> {
    let typed: Vec<String> =
        upper.iter().filter_map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
    let mut lower = lower.map(|lower| {
        let kept = |item: &Spanned<DeValue<'_>>| {
            item.get_ref().as_str().is_none_or(|text| !typed.iter().any(|own| own == text))
        };
        lower.into_iter().filter(kept).collect::<Vec<_>>()
    });
    let mut merged = DeArray::new();
    for item in upper {
        if item.get_ref().as_str() != Some(REST) {
            merged.push(item);
        } else if let Some(lower) = lower.take() {
            lower.into_iter().for_each(|item| merged.push(item));
        } else {
            let fault = Fault::new(Span::from(item.span()), "`...` has nothing to stand for");
            faults.push(fault.hint("it stands, once, for this list in the recipe that `extends` names"));
        }
    }
    merged
}

/// Merges tables of the same `name`; new ones follow the old.
fn merge_named<'s>(lower: DeArray<'s>, upper: DeArray<'s>, faults: &mut Vec<Fault>) -> DeArray<'s> {
    let mut merged: Vec<Spanned<DeValue<'s>>> = lower.into_iter().collect();
    let inherited = merged.len();
    for item in upper {
        let name = name_of(&item);
        let place = merged.iter().take(inherited).position(|other| name.is_some() && name_of(other) == name);
        match place {
            Some(place) => {
                let lower =
                    std::mem::replace(&mut merged[place], Spanned::new(0..0, DeValue::Boolean(false)));
                merged[place] = merge_value(Some(lower), item, faults);
            }
            None => merged.push(merge_value(None, item, faults)),
        }
    }
    merged.into_iter().collect()
}

fn name_of(item: &Spanned<DeValue<'_>>) -> Option<String> {
    item.get_ref().as_table()?.get("name")?.get_ref().as_str().map(str::to_owned)
}
