//! The one stanza of a control file, kept as it is written so that dpkg's status file says the same.

use super::super::error::ControlFault;

/// A field, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as capitalised by the package.
    pub name: String,
    /// Its value: the first line trimmed, then every continuation line with its leading space.
    pub value: String,
}

/// Parses a file of exactly one stanza. Source: deb-control(5), deb822(5).
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Field>, ControlFault> {
    let syntax = |line, reason| ControlFault::Syntax { line, reason };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        syntax(before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1), "not UTF-8")
    })?;
    let mut fields: Vec<Field> = Vec::new();
    let mut ended = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(syntax(number, "a control character"));
        }
        if line.trim().is_empty() {
            ended = true;
            continue;
        }
        if ended {
            return Err(syntax(number, "text after the end of the stanza"));
        }
        if line.starts_with([' ', '\t']) {
            let field = fields.last_mut().ok_or_else(|| syntax(number, "a continuation of nothing"))?;
            field.value.push('\n');
            field.value.push_str(line.trim_end());
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| syntax(number, "no colon"))?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name || name.starts_with(['#', '-']) {
            return Err(syntax(number, "not a field name"));
        }
        if fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)) {
            return Err(syntax(number, "a field that occurred before"));
        }
        fields.push(Field { name: name.to_owned(), value: value.trim().to_owned() });
    }
    Ok(fields)
}
