//! Downloads, behind a trait: bytes stream from a URL into a sink that may be told to begin anew.
//!
//! Nothing a server says about its bytes is believed: the size is capped by what signed metadata
//! declared, and whoever asked compares the digest. What can pass by itself (no connection, 5xx, a
//! body cut short) is tried again, from where it broke if the server can prove it is the same body.
//! Redirects are followed by hand: five at most, never from https to http, never to a file.

pub mod http;

use std::fs::File;
use std::io::{self, Read, Write};

use goni_model::number::to_u64;
use reqwest::{StatusCode, Url};

use crate::failure::{Class, Classify};
use crate::host::files::full_disk_hint;
use crate::host::interrupt::{Interrupt, Interrupted};
use crate::host::store::Incoming;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// From where.
    pub url: Url,
    /// How much at most, or exactly.
    pub size: Size,
}

impl Request {
    /// Asks for an address whose size nobody declares. A recipe's addresses were checked when it was
    /// read.
    ///
    /// # Errors
    /// Text that is no address.
    pub fn at_most(url: &str, bytes: u64) -> Result<Self, FetchError> {
        let url = Url::parse(url)
            .map_err(|error| FetchError::BadUrl { text: url.to_owned(), reason: error.to_string() })?;
        Ok(Self { url, size: Size::AtMost(bytes) })
    }
}

/// What is known of a size before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Signed metadata declares it.
    Exactly(u64),
    /// Nobody declares it; more than this is refused.
    AtMost(u64),
}

impl Size {
    /// The most bytes that are taken.
    #[must_use]
    pub const fn cap(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// Where bytes go.
pub trait Sink: Write + Send {
    /// Forgets what came so far: the body begins anew.
    ///
    /// # Errors
    /// If that is not possible.
    fn restart(&mut self) -> io::Result<()>;
}

impl Sink for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Sink for Incoming<'_> {
    fn restart(&mut self) -> io::Result<()> {
        Incoming::restart(self)
    }
}

/// Gets bytes from a URL.
pub trait Fetch: Send + Sync {
    /// Streams the body into the sink; returns its length.
    ///
    /// # Errors
    /// [`FetchError`]; the sink then holds bytes that mean nothing.
    fn fetch(&self, request: &Request, sink: &mut dyn Sink) -> Result<u64, FetchError>;
}

/// Why bytes were not got.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server answered, but not with the bytes.
    #[error("`{url}` answered {status}")]
    Status {
        /// The URL asked.
        url: Box<Url>,
        /// The answer.
        status: StatusCode,
    },
    /// No answer, or none to the end.
    #[error("fetching `{url}`")]
    Broken {
        /// The URL asked.
        url: Box<Url>,
        /// What broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The time for one file is over.
    #[error("`{url}` took longer than {seconds} s")]
    TooSlow {
        /// The URL asked.
        url: Box<Url>,
        /// The time it had.
        seconds: u64,
    },
    /// More bytes than declared.
    #[error("`{url}` has more than the {cap} bytes it may have")]
    TooLong {
        /// The URL asked.
        url: Box<Url>,
        /// What was declared.
        cap: u64,
    },
    /// Fewer bytes than declared, in an answer that was whole.
    #[error("`{url}` has {found} bytes instead of {expected}")]
    TooShort {
        /// The URL asked.
        url: Box<Url>,
        /// What was declared.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A redirect we do not follow.
    #[error("`{url}` redirects to `{location}`: {reason}")]
    Redirect {
        /// The URL asked.
        url: Box<Url>,
        /// Where it points.
        location: String,
        /// Why we do not go there.
        reason: &'static str,
    },
    /// A URL we cannot fetch from.
    #[error("`{url}` is not a URL we can fetch from")]
    Scheme {
        /// The URL.
        url: Box<Url>,
    },
    /// The bytes came but could not be kept.
    #[error("keeping what came from `{url}`")]
    Sink {
        /// The URL asked.
        url: Box<Url>,
        /// Why not.
        source: io::Error,
    },
    /// Text that is no address.
    #[error("`{text}` is no URL: {reason}")]
    BadUrl {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is fetched in this run.
    #[error("`{url}` is not fetched: offline")]
    Offline {
        /// The URL.
        url: Box<Url>,
    },
    /// The client cannot be made: no certificate authorities, a proxy that is none.
    #[error("setting up the network client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody asked us to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl FetchError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Broken { .. } => true,
            _ => false,
        }
    }

    /// Whether the server says that there is no such thing.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE),
            Self::Broken { source, .. } => source
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::NotFound),
            _ => false,
        }
    }
}

impl Classify for FetchError {
    fn class(&self) -> Class {
        match self {
            Self::TooLong { .. } | Self::TooShort { .. } | Self::Redirect { .. } => Class::Trust,
            Self::Interrupted(interrupted) => interrupted.class(),
            Self::Status { .. }
            | Self::Broken { .. }
            | Self::TooSlow { .. }
            | Self::Scheme { .. }
            | Self::Sink { .. }
            | Self::Offline { .. }
            | Self::Client(_) => Class::Environment,
            Self::BadUrl { .. } => Class::Recipe,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Sink { source, .. } => full_disk_hint(source),
            Self::Offline { .. } => Some("run once without --offline".into()),
            Self::Broken { .. } => Some("check the network, or name another mirror with --mirror".into()),
            Self::Status { .. } => Some("the mirror may be out of date: try another with --mirror".into()),
            _ => None,
        }
    }
}

/// Fetches nothing, and says so: for `--offline`, and for tests that must not reach out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusing;

impl Fetch for Refusing {
    fn fetch(&self, request: &Request, _: &mut dyn Sink) -> Result<u64, FetchError> {
        Err(FetchError::Offline { url: Box::new(request.url.clone()) })
    }
}

/// Copies a local file.
fn fetch_file(request: &Request, sink: &mut dyn Sink, interrupt: &Interrupt) -> Result<u64, FetchError> {
    let url = &request.url;
    let path = url.to_file_path().map_err(|()| FetchError::Scheme { url: Box::new(url.clone()) })?;
    let broken = |source: io::Error| FetchError::Broken { url: Box::new(url.clone()), source: source.into() };
    let file = File::open(&path).map_err(broken)?;
    // A FIFO or device in the place of a file would never end.
    if !file.metadata().map_err(broken)?.is_file() {
        return Err(broken(io::Error::other("not a regular file")));
    }
    let length = Transfer { request, sink, interrupt, deadline: None }.run(file, 0)?;
    check_length(request, length)
}

/// One body on its way.
struct Transfer<'a> {
    request: &'a Request,
    sink: &'a mut dyn Sink,
    interrupt: &'a Interrupt,
    deadline: Option<http::Deadline>,
}

impl Transfer<'_> {
    /// Copies until the end of the body; `length` bytes came before. Returns the length then.
    ///
    /// `so_far` of a failed transfer is asked from the sink's owner, hence the out parameter.
    fn run(&mut self, body: impl Read, mut length: u64) -> Result<u64, FetchError> {
        self.resume(body, &mut length)?;
        Ok(length)
    }

    /// As [`Transfer::run`], and `length` tells how far it came even when it fails.
    fn resume(&mut self, mut body: impl Read, length: &mut u64) -> Result<(), FetchError> {
        let url = &self.request.url;
        let cap = self.request.size.cap();
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.interrupt.check()?;
            if let Some(deadline) = &self.deadline {
                deadline.check(url)?;
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(FetchError::Broken { url: Box::new(url.clone()), source: error.into() });
                }
            };
            if to_u64(count) > cap.saturating_sub(*length) {
                return Err(FetchError::TooLong { url: Box::new(url.clone()), cap });
            }
            self.sink
                .write_all(&buffer[..count])
                .map_err(|source| FetchError::Sink { url: Box::new(url.clone()), source })?;
            *length = length.saturating_add(to_u64(count));
        }
    }
}

fn check_length(request: &Request, found: u64) -> Result<u64, FetchError> {
    match request.size {
        Size::Exactly(expected) if found < expected => {
            Err(FetchError::TooShort { url: Box::new(request.url.clone()), expected, found })
        }
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests;
