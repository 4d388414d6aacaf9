//! http and https. Source: RFC 9110 (status, ranges, validators).

use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LOCATION, RANGE};
use reqwest::{NoProxy, Proxy, StatusCode, Url, redirect};

use super::{Fetch, FetchError, Request, Sink, Transfer, check_length, fetch_file};
use crate::host::environment::{Environment, EnvironmentError, Variable};
use crate::host::interrupt::Interrupt;

/// As apt: more is a loop.
const MOST_REDIRECTS: usize = 5;

/// How patient to be, and through whom to go.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often a request is made before its failure counts.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles before each further one.
    pub pause: Duration,
    /// The longest silence of a server.
    pub silence: Duration,
    /// The slowest a body may be on average, in bytes per second, once `grace` is over.
    pub slowest: u64,
    /// Time for a body of any size.
    pub grace: Duration,
    /// Proxy for http.
    pub http_proxy: Option<String>,
    /// Proxy for https.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without a proxy, as in curl.
    pub no_proxy: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempts: 3,
            pause: Duration::from_millis(500),
            silence: Duration::from_secs(30),
            slowest: 4096,
            grace: Duration::from_secs(120),
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
        }
    }
}

impl Options {
    /// The usual patience, and the proxies that `http_proxy`, `https_proxy` and `no_proxy` name.
    ///
    /// # Errors
    /// If one of them is not text.
    pub fn of(environment: &Environment) -> Result<Self, EnvironmentError> {
        let text = |variable| Ok(environment.text(variable)?.map(str::to_owned));
        Ok(Self {
            http_proxy: text(Variable::HttpProxy)?,
            https_proxy: text(Variable::HttpsProxy)?,
            no_proxy: text(Variable::NoProxy)?,
            ..Self::default()
        })
    }
}

/// Fetches over http, https and from local files.
#[derive(Debug)]
pub struct HttpFetch {
    client: Client,
    options: Options,
    interrupt: Interrupt,
}

/// When a transfer must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    time: Duration,
}

impl Deadline {
    pub(super) fn check(&self, url: &Url) -> Result<(), FetchError> {
        if self.start.elapsed() > self.time {
            return Err(FetchError::TooSlow { url: Box::new(url.clone()), seconds: self.time.as_secs() });
        }
        Ok(())
    }
}

/// How far a body came, and what proves that a later answer continues it.
#[derive(Debug, Default)]
struct Partial {
    length: u64,
    /// A strong entity tag. A weak one, or a date, does not promise equal bytes (RFC 9110 §13.1.5).
    validator: Option<String>,
}

impl HttpFetch {
    /// A client that listens to the interrupt.
    ///
    /// # Errors
    /// `Client` if a proxy is not a URL, or the machine has no certificate authorities.
    pub fn new(options: Options, interrupt: Interrupt) -> Result<Self, FetchError> {
        let client = |error: reqwest::Error| FetchError::Client(error.into());
        let mut builder = Client::builder()
            .user_agent(concat!("goni-compose/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(options.silence)
            .connect_timeout(options.silence)
            .no_proxy();
        let direct = options.no_proxy.as_deref().and_then(NoProxy::from_string);
        if let Some(proxy) = &options.http_proxy {
            builder = builder.proxy(Proxy::http(proxy).map_err(client)?.no_proxy(direct.clone()));
        }
        if let Some(proxy) = &options.https_proxy {
            builder = builder.proxy(Proxy::https(proxy).map_err(client)?.no_proxy(direct));
        }
        Ok(Self { client: builder.build().map_err(client)?, options, interrupt })
    }

    fn attempt(
        &self,
        request: &Request,
        sink: &mut dyn Sink,
        partial: &mut Partial,
        deadline: Deadline,
    ) -> Result<(), FetchError> {
        let response = self.respond(&request.url, partial)?;
        let status = response.status();
        let refused = || FetchError::Status { url: Box::new(request.url.clone()), status };
        match status {
            StatusCode::OK => {
                sink.restart()
                    .map_err(|source| FetchError::Sink { url: Box::new(request.url.clone()), source })?;
                *partial = Partial { length: 0, validator: strong_validator(response.headers()) };
            }
            StatusCode::PARTIAL_CONTENT if continues(response.headers(), partial.length) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if partial.length > 0 => {
                // Not the part we asked for: the next attempt asks for the whole.
                *partial = Partial::default();
                return Err(FetchError::Broken {
                    url: Box::new(request.url.clone()),
                    source: format!("{status} does not continue what came before").into(),
                });
            }
            _ => return Err(refused()),
        }
        let mut transfer = Transfer { request, sink, interrupt: &self.interrupt, deadline: Some(deadline) };
        transfer.resume(response, &mut partial.length)
    }

    /// The first answer that is not a redirect.
    fn respond(&self, url: &Url, partial: &Partial) -> Result<Response, FetchError> {
        let mut here = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            self.interrupt.check()?;
            let mut request = self.client.get(here.clone());
            if let Some(validator) = partial.validator.as_ref().filter(|_| partial.length > 0) {
                let range = format!("bytes={}-", partial.length);
                request = request.header(RANGE, range).header(IF_RANGE, validator);
            }
            let response = request.send().map_err(|error| FetchError::Broken {
                url: Box::new(url.clone()),
                source: error.without_url().into(),
            })?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            here = redirected(&here, response.headers())?;
        }
        let location = here.into();
        Err(FetchError::Redirect { url: Box::new(url.clone()), location, reason: "more than five redirects" })
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, request: &Request, sink: &mut dyn Sink) -> Result<u64, FetchError> {
        match request.url.scheme() {
            "file" => return fetch_file(request, sink, &self.interrupt),
            "http" | "https" => {}
            _ => return Err(FetchError::Scheme { url: Box::new(request.url.clone()) }),
        }
        let least_time = Duration::from_secs(request.size.cap() / self.options.slowest.max(1));
        let deadline =
            Deadline { start: Instant::now(), time: self.options.grace.saturating_add(least_time) };
        let mut partial = Partial::default();
        let mut pause = self.options.pause;
        let mut left = self.options.attempts.max(1);
        loop {
            left -= 1;
            match self.attempt(request, sink, &mut partial, deadline) {
                Ok(()) => return check_length(request, partial.length),
                Err(error) if left > 0 && error.is_transient() => {
                    deadline.check(&request.url)?;
                    self.interrupt.wait(pause)?;
                    pause = pause.saturating_mul(2);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where a redirect leads, if we follow it.
pub(super) fn redirected(here: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let raw = headers.get(LOCATION).map(|value| value.as_bytes()).unwrap_or_default();
    let location = raw.escape_ascii().to_string();
    let refuse =
        |reason| FetchError::Redirect { url: Box::new(here.clone()), location: location.clone(), reason };
    let text = std::str::from_utf8(raw).map_err(|_| refuse("not a URL"))?;
    let encoded = text.to_ascii_lowercase();
    // A line break, written out or encoded, ends up in the protocol of whoever decodes it (CVE-2019-3462).
    if text.chars().any(char::is_control) || ["%0a", "%0d"].iter().any(|code| encoded.contains(code)) {
        return Err(refuse("a line break in it"));
    }
    let next = here.join(text).map_err(|_| refuse("not a URL"))?;
    match (here.scheme(), next.scheme()) {
        _ if text.is_empty() => Err(refuse("not a URL")),
        ("https", "http") => Err(refuse("from https to http")),
        (_, "http" | "https") => Ok(next),
        _ => Err(refuse("not http or https")),
    }
}

/// A tag that promises equal bytes.
fn strong_validator(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    (tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')).then(|| tag.to_owned())
}

/// Whether an answer with status 206 begins where the body broke.
fn continues(headers: &HeaderMap, length: u64) -> bool {
    let start = || {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        text.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok()
    };
    length > 0 && start() == Some(length)
}
