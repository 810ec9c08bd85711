//! Servers of HTTP in this process: one question a connection, and an answer.

use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// A question.
pub(crate) struct Question {
    pub method: String,
    pub path: String,
    /// What follows `Basic ` where it says who asks; empty where it does not.
    pub login: String,
    pub body: Vec<u8>,
}

/// Answers on a free port of this machine, one question after the other, until the process ends; gives the port. An answer is a status and a body.
///
/// # Errors
/// When there is no port.
pub(crate) fn serve(mut answer: impl FnMut(&Question) -> Result<(u16, String)> + Send + 'static) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port for a server")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // whoever hangs up is forgotten
            one(stream, &mut answer).unwrap_or_default();
        }
    });
    Ok(port)
}

fn one(mut stream: TcpStream, answer: &mut impl FnMut(&Question) -> Result<(u16, String)>) -> Result<()> {
    let (status, answer) = answer(&question(&mut BufReader::new(stream.try_clone()?))?)?;
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    Ok(stream.write_all(format!("{head}{answer}").as_bytes())?)
}

fn question(reader: &mut BufReader<TcpStream>) -> Result<Question> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = words.next().zip(words.next()).context("a question")?;
    let (mut length, mut login) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse()?;
        } else if name.eq_ignore_ascii_case("authorization") {
            value.strip_prefix("Basic ").unwrap_or_default().clone_into(&mut login);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Question { method, path, login, body })
}

/// RFC 4648.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        let digit = |n: usize| if n <= group.len() { char::from(DIGITS[bits >> (18 - 6 * n) & 63]) } else { '=' };
        text.extend((0..4).map(digit));
    }
    text
}
