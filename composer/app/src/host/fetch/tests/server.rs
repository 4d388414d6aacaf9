//! One scripted reply after the other, a connection each.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::Url;

/// What the server says to one request.
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    sent: usize,
    stall: bool,
    endless: bool,
}

impl Reply {
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { head: String::new(), body: bytes.into(), sent: bytes.len(), stall: false, endless: false }
    }

    fn with_length(status: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        Self { head, ..Self::raw(body) }
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self::with_length("200 OK", body)
    }

    pub(crate) fn status(status: &str) -> Self {
        Self::with_length(status, b"")
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::status("302 Found").header(&format!("Location: {location}"))
    }

    pub(crate) fn partial(rest: &[u8], start: usize, whole: usize) -> Self {
        let range = format!("Content-Range: bytes {start}-{}/{whole}", whole - 1);
        Self::with_length("206 Partial Content", rest).header(&range)
    }

    pub(crate) fn silence() -> Self {
        Self::raw(b"")
    }

    pub(crate) fn endless() -> Self {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n".into();
        Self { head, endless: true, ..Self::raw(&[0; 4096]) }
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        self.head.push_str(line);
        self.head.push_str("\r\n");
        self
    }

    /// Sends only so many bytes of the body.
    pub(crate) fn cut(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// Keeps the connection open and says no more.
    pub(crate) fn stalling(mut self) -> Self {
        self.stall = true;
        self
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        if !self.head.is_empty() {
            stream.write_all(format!("{}\r\n", self.head).as_bytes())?;
        }
        stream.write_all(&self.body[..self.sent])?;
        if self.endless {
            loop {
                stream.write_all(&self.body)?;
            }
        }
        if self.stall {
            std::thread::sleep(Duration::from_millis(1500));
        }
        Ok(())
    }
}

/// A server on the loopback interface; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, over) = (Arc::clone(&requests), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut replies = replies.into_iter();
            while let Ok((mut stream, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Some(request) = read_request(&mut stream) else { continue };
                seen.lock().unwrap().push(request.to_ascii_lowercase());
                let reply = replies.next().unwrap_or_else(|| Reply::status("500 Unscripted"));
                std::thread::spawn(move || reply.send(&mut stream));
            }
        });
        Self { address, requests, ended, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(request).ok()
}
