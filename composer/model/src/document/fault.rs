//! What is wrong with a document, where, and what to do about it. Rendering is the caller's.

use std::fmt;

use crate::document::source::{FileId, Location, Sources, Span};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// Other places that belong to it, and why.
    pub related: Vec<(Span, String)>,
    /// The way out, if one is known.
    pub hint: Option<String>,
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a file, at these bytes.
    Span(Span),
    /// In a file, at no place that could be shown.
    File(FileId),
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self::Span(span)
    }
}

impl Fault {
    /// A fault without related places and without a hint.
    #[must_use]
    pub fn new(place: impl Into<Place>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into(), related: Vec::new(), hint: None }
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a place that belongs to it.
    #[must_use]
    pub fn related(mut self, span: Span, why: impl Into<String>) -> Self {
        self.related.push((span, why.into()));
        self
    }
}

/// The faults of one set of documents: at least one, with the texts they are about.
#[derive(Debug, Clone)]
pub struct Faults {
    sources: Sources,
    list: Vec<Fault>,
}

impl Faults {
    /// Puts the faults in the order of their places. There must be one.
    #[must_use]
    pub fn new(sources: Sources, mut list: Vec<Fault>) -> Self {
        list.sort_by_key(|fault| match fault.place {
            Place::Span(span) => span.start,
            Place::File(file) => sources.whole(file).start,
        });
        list.dedup();
        Self { sources, list }
    }

    /// The faults, in the order of their places.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// The texts.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Where a fault is, if at a place that can be shown.
    #[must_use]
    pub fn locate(&self, fault: &Fault) -> Option<Location<'_>> {
        match fault.place {
            Place::Span(span) => self.sources.locate(span),
            Place::File(_) => None,
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match (fault.place, self.locate(fault)) {
                (_, Some(at)) => write!(f, "{}:{}:{}: ", at.path, at.line, at.column)?,
                (Place::File(file), None) => write!(f, "{}: ", self.sources.path(file))?,
                (Place::Span(_), None) => {}
            }
            f.write_str(&fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
