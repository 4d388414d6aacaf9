//! A server on the loopback, in a mirror's place.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

/// Answers requests on the loopback with what `respond` has for a path, until the process ends.
pub(crate) fn serve(respond: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(&stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let found = respond(first.split(' ').nth(1).unwrap_or_default());
        let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
        let body = found.unwrap_or_default();
        let length = body.len();
        write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        (&stream).write_all(&body)
    };
    std::thread::spawn(move || {
        // A client that has seen enough may go at any time.
        listener.incoming().for_each(|stream| drop(stream.and_then(&answer)));
    });
    url
}
