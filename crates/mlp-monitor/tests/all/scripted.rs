//! A server on loopback that answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// What the server does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Writes this and closes.
    Raw(String),
    /// Answers with a status line, headers and nothing else.
    Status(&'static str),
    /// Reads the request and never answers, until the server ends.
    Silence,
    /// Closes without a word.
    HangUp,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Answers the k-th connection with the k-th reply, and all after them with the last one.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Receiver<Request>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), replies)
    }

    /// One whose replies depend on its address.
    pub(crate) fn with(replies: impl FnOnce(SocketAddr) -> Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let replies = replies(listener.local_addr().unwrap());
        Self::on(listener, replies)
    }

    fn on(listener: TcpListener, replies: impl IntoIterator<Item = Reply>) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded();
        let ends = Arc::new(AtomicBool::new(false));
        let (stop, replies) = (Arc::clone(&ends), replies.into_iter().collect::<Vec<_>>());
        let serve = move || {
            let mut silent = Vec::new();
            for (k, stream) in listener.incoming().enumerate() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let reply = &replies[k.min(replies.len() - 1)];
                silent.extend(stream.ok().and_then(|stream| answer(stream, reply, &sender)));
            }
        };
        Self { address, requests, ends, thread: Some(thread::spawn(serve)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is to end.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Reads a request and replies; gives the connection back if it is to stay open.
fn answer(mut stream: TcpStream, reply: &Reply, requests: &Sender<Request>) -> Option<TcpStream> {
    let request = read(&stream)?;
    requests.send(request).unwrap();
    let written = match reply {
        Reply::Silence => return Some(stream),
        Reply::HangUp => Ok(()),
        Reply::Raw(text) => stream.write_all(text.as_bytes()),
        Reply::Status(status) => {
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())
        }
    };
    written.ok().and(None)
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).ok()? })
}
