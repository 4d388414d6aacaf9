//! A server on this machine that misbehaves on request.

mod server;

use std::time::Duration;

use self::server::{Reply, Server};
use super::http::{HttpFetch, Options};
use super::*;

const BODY: &[u8] = b"the bytes that were asked for";

fn fetcher() -> HttpFetch {
    let options = Options {
        pause: Duration::from_millis(1),
        silence: Duration::from_millis(400),
        grace: Duration::from_secs(20),
        ..Options::default()
    };
    HttpFetch::new(options, Interrupt::default()).unwrap()
}

fn exactly(url: Url) -> Request {
    Request { url, size: Size::Exactly(to_u64(BODY.len())) }
}

/// What came, or the error as text, after so many requests.
fn outcome(replies: Vec<Reply>) -> (Result<Vec<u8>, String>, usize) {
    let server = Server::start(replies);
    let mut sink = Vec::new();
    let result = fetcher().fetch(&exactly(server.url("/f")), &mut sink);
    let text = |error: FetchError| {
        let code = error.class().exit_code();
        format!("{code}: {}", error.to_string().replace(server.url("/").as_str(), "S/"))
    };
    let requests = server.requests();
    (result.map(|length| sink[..usize::try_from(length).unwrap()].to_vec()).map_err(text), requests.len())
}

#[test]
fn a_body_comes_whole() {
    assert_eq!(outcome(vec![Reply::ok(BODY)]), (Ok(BODY.to_vec()), 1));
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    let busy = || Reply::status("503 Service Unavailable");
    for (fault, replies) in [
        ("busy twice", vec![busy(), busy(), Reply::ok(BODY)]),
        ("too many requests", vec![Reply::status("429 Too Many Requests"), Reply::ok(BODY)]),
        ("closed without a word", vec![Reply::silence(), Reply::ok(BODY)]),
        ("cut short", vec![Reply::ok(BODY).cut(7), Reply::ok(BODY)]),
        ("stalled", vec![Reply::ok(BODY).cut(7).stalling(), Reply::ok(BODY)]),
        ("garbage", vec![Reply::raw(b"\x00\x01 not http\r\n\r\n"), Reply::ok(BODY)]),
    ] {
        let count = replies.len();
        assert_eq!(outcome(replies), (Ok(BODY.to_vec()), count), "{fault}");
    }
}

#[test]
fn patience_ends_after_three_attempts() {
    let busy = || Reply::status("503 Service Unavailable");
    let (result, requests) = outcome(vec![busy(), busy(), busy(), Reply::ok(BODY)]);
    assert_eq!(result, Err("6: `S/f` answered 503 Service Unavailable".into()));
    assert_eq!(requests, 3);
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    for (status, text) in [
        ("404 Not Found", "6: `S/f` answered 404 Not Found"),
        ("403 Forbidden", "6: `S/f` answered 403 Forbidden"),
        ("304 Not Modified", "6: `S/f` answered 304 Not Modified"),
        ("206 Partial Content", "6: `S/f` answered 206 Partial Content"),
    ] {
        assert_eq!(outcome(vec![Reply::status(status), Reply::ok(BODY)]), (Err(text.into()), 1));
    }
}

#[test]
fn a_broken_body_goes_on_where_it_broke() {
    let whole = Reply::ok(BODY).header("ETag: \"v1\"");
    let rest = Reply::partial(&BODY[7..], 7, BODY.len());
    let server = Server::start(vec![whole.cut(7), rest]);
    let mut sink = Vec::new();
    let length = fetcher().fetch(&exactly(server.url("/f")), &mut sink).unwrap();
    assert_eq!((sink.as_slice(), length), (BODY, to_u64(BODY.len())));
    let requests = server.requests();
    assert!(!requests[0].contains("range:"), "{}", requests[0]);
    assert!(requests[1].contains("range: bytes=7-\r\n"), "{}", requests[1]);
    assert!(requests[1].contains("if-range: \"v1\"\r\n"), "{}", requests[1]);
}

#[test]
fn a_resumption_that_does_not_fit_begins_anew() {
    let cut = || Reply::ok(BODY).header("ETag: \"v1\"").cut(7);
    for (fault, replies) in [
        ("range ignored", vec![cut(), Reply::ok(BODY)]),
        ("wrong range", vec![cut(), Reply::partial(&BODY[9..], 9, BODY.len()), Reply::ok(BODY)]),
        ("range refused", vec![cut(), Reply::status("416 Range Not Satisfiable"), Reply::ok(BODY)]),
        ("weak tag", vec![Reply::ok(BODY).header("ETag: W/\"v1\"").cut(7), Reply::ok(BODY)]),
    ] {
        let count = replies.len();
        assert_eq!(outcome(replies), (Ok(BODY.to_vec()), count), "{fault}");
    }
}

#[test]
fn sizes_other_than_declared_are_a_matter_of_trust() {
    let long = [BODY, b"x"].concat();
    let text = "3: `S/f` has more than the 29 bytes it may have";
    assert_eq!(outcome(vec![Reply::ok(&long)]), (Err(text.into()), 1));
    assert_eq!(outcome(vec![Reply::endless()]), (Err(text.into()), 1));
    let text = "3: `S/f` has 28 bytes instead of 29";
    assert_eq!(outcome(vec![Reply::ok(&BODY[..28])]), (Err(text.into()), 1));
}

#[test]
fn redirects_are_followed_but_not_everywhere() {
    let to = Reply::redirect;
    assert_eq!(outcome(vec![to("/g"), to("h"), Reply::ok(BODY)]), (Ok(BODY.to_vec()), 3));
    for (fault, replies, text, count) in [
        (
            "loop",
            (0..9).map(|_| to("/f")).collect(),
            "3: `S/f` redirects to `S/f`: more than five redirects",
            6,
        ),
        (
            "encoded line break",
            vec![to("/g%0aHost:%20x")],
            "3: `S/f` redirects to `/g%0aHost:%20x`: a line break in it",
            1,
        ),
        (
            "a file",
            vec![to("file:///etc/passwd")],
            "3: `S/f` redirects to `file:///etc/passwd`: not http or https",
            1,
        ),
        ("nowhere", vec![Reply::status("302 Found")], "3: `S/f` redirects to ``: not a URL", 1),
    ] {
        assert_eq!(outcome(replies), (Err(text.into()), count), "{fault}");
    }
}

#[test]
fn a_raw_line_break_in_a_location_reaches_nobody() {
    let raw = b"HTTP/1.1 302 Found\r\nLocation: /g\nX: y\r\nContent-Length: 0\r\n\r\n".as_slice();
    // A bare LF ends the header line: what follows is another header, and the redirect goes to `/g`.
    assert_eq!(outcome(vec![Reply::raw(raw), Reply::ok(BODY)]), (Ok(BODY.to_vec()), 2));
    let control = b"HTTP/1.1 302 Found\r\nLocation: /g\rX\r\nContent-Length: 0\r\n\r\n".as_slice();
    let (result, requests) = outcome(vec![Reply::raw(control), Reply::raw(control), Reply::raw(control)]);
    assert_eq!((result, requests), (Err("6: fetching `S/f`".into()), 3));
}

#[test]
fn an_https_redirect_never_leads_to_http() {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("location", "http://m.example.org/f".parse().unwrap());
    let here = Url::parse("https://m.example.org/f").unwrap();
    let error = http::redirected(&here, &headers).unwrap_err();
    let text = "`https://m.example.org/f` redirects to `http://m.example.org/f`: from https to http";
    assert_eq!(error.to_string(), text);
    headers.insert("location", "https://n.example.org/f".parse().unwrap());
    assert_eq!(http::redirected(&here, &headers).unwrap().as_str(), "https://n.example.org/f");
}

#[test]
fn no_server_is_an_environment_that_lacks_something() {
    let server = Server::start(vec![]);
    let url = server.url("/f");
    drop(server);
    let error = fetcher().fetch(&exactly(url.clone()), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("fetching `{url}`"));
    assert_eq!(error.class(), Class::Environment);
}

#[test]
fn an_interrupt_ends_a_transfer_between_two_reads() {
    let server = Server::start(vec![Reply::endless()]);
    let interrupt = Interrupt::default();
    let fetcher = HttpFetch::new(Options::default(), interrupt.clone()).unwrap();
    let request = Request { url: server.url("/f"), size: Size::AtMost(u64::MAX) };
    let mut sink = Raising(interrupt, 0);
    let error = fetcher.fetch(&request, &mut sink).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    assert_eq!(sink.1, 1);
}

/// Asks for the end with its first bytes, and counts how often it gets some.
struct Raising(Interrupt, usize);

impl Write for Raising {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raise(Interrupted::Interrupt);
        self.1 += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Raising {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named_with_a_way_out() {
    /// A disk without room.
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Full {
        fn restart(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(vec![Reply::ok(BODY)]);
    let error = fetcher().fetch(&exactly(server.url("/f")), &mut Full).unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    assert!(error.hint().unwrap().starts_with("free some space"));
}

#[test]
fn local_files_are_held_to_the_same_sizes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    std::fs::write(&path, BODY).unwrap();
    let url = Url::from_file_path(&path).unwrap();
    let mut sink = Vec::new();
    assert_eq!(fetcher().fetch(&exactly(url.clone()), &mut sink).unwrap(), 29);
    assert_eq!(sink, BODY);
    let error = fetcher().fetch(&Request { url, size: Size::AtMost(28) }, &mut Vec::new()).unwrap_err();
    assert_eq!(error.class(), Class::Trust);
    let absent = Url::from_file_path(directory.path().join("g")).unwrap();
    assert!(fetcher().fetch(&exactly(absent), &mut Vec::new()).unwrap_err().is_absent());
    let odd = Url::from_file_path(directory.path()).unwrap();
    assert!(!fetcher().fetch(&exactly(odd), &mut Vec::new()).unwrap_err().is_absent());
}

#[test]
fn offline_reaches_nobody() {
    let url = Url::parse("http://m.example.org/f").unwrap();
    let error = Refusing.fetch(&exactly(url), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "`http://m.example.org/f` is not fetched: offline");
    assert_eq!(error.class(), Class::Environment);
}
