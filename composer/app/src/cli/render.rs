//! Failures as text: faults of documents with their lines, everything else with its causes.

use std::error::Error;
use std::iter::successors;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use goni_model::document::fault::{Fault, Faults, Place};

use crate::failure::Failure;

/// The message for a failed command, its last line ended.
pub(super) fn failure(failure: &Failure, colors: bool) -> String {
    let renderer = if colors { Renderer::styled() } else { Renderer::plain() };
    if let Some(faults) = chain(failure.error()).find_map(|error| find_faults(error)) {
        return render_faults(&renderer, faults);
    }
    let mut text = String::new();
    let mut label = "error";
    if let Some(intent) = failure.intent() {
        text.push_str(&line(&renderer, colors, label, intent));
        label = "caused by";
    }
    for cause in chain(failure.error()) {
        text.push_str(&line(&renderer, colors, label, &cause.to_string()));
        label = "caused by";
    }
    if let Some(hint) = failure.hint() {
        text.push_str(&line(&renderer, colors, "hint", hint));
    }
    text
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

/// Faults are found behind a transparent wrapper, too.
fn find_faults<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Faults> {
    use crate::project::ProjectError;
    match error.downcast_ref::<ProjectError>() {
        Some(ProjectError::Faults(faults)) => Some(faults),
        _ => error.downcast_ref::<Faults>(),
    }
}

fn line(_: &Renderer, colors: bool, label: &str, text: &str) -> String {
    let text = escape(text);
    match (colors, label) {
        (false, _) => format!("{label}: {text}\n"),
        (true, "error") => format!("\x1b[1;31m{label}\x1b[0m: {text}\n"),
        (true, "hint") => format!("\x1b[1;36m{label}\x1b[0m: {text}\n"),
        (true, _) => format!("\x1b[1m{label}\x1b[0m: {text}\n"),
    }
}

/// Keeps text from outside from moving the cursor or colouring the terminal.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_debug().to_string() } else { c.to_string() })
        .collect()
}

fn render_faults(renderer: &Renderer, faults: &Faults) -> String {
    let mut text = String::new();
    for fault in faults.list() {
        text.push_str(&renderer.render(&[group(faults, fault)]));
        text.push_str("\n\n");
    }
    text.pop();
    text
}

fn group<'f>(faults: &'f Faults, fault: &'f Fault) -> Group<'f> {
    let title = Level::ERROR.primary_title(escape(&fault.message));
    let mut group = match (faults.locate(fault), fault.place) {
        (Some(at), _) => {
            let mut snippet = Snippet::source(at.text)
                .path(at.path)
                .annotation(AnnotationKind::Primary.span(at.range.clone()));
            let mut elsewhere = Vec::new();
            for (span, why) in &fault.related {
                match faults.sources().locate(*span) {
                    Some(near) if near.path == at.path => {
                        snippet =
                            snippet.annotation(AnnotationKind::Context.span(near.range).label(escape(why)));
                    }
                    Some(far) => elsewhere.push(
                        Snippet::source(far.text)
                            .path(far.path)
                            .annotation(AnnotationKind::Context.span(far.range).label(escape(why))),
                    ),
                    None => {}
                }
            }
            title.element(snippet).elements(elsewhere)
        }
        (None, Place::File(file)) => title.element(Origin::path(faults.sources().path(file))),
        (None, Place::Span(_)) => Group::with_title(title),
    };
    if let Some(hint) = &fault.hint {
        group = group.element(Level::HELP.with_name("hint").message(escape(hint)));
    }
    group
}
