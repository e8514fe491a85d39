//! Mail, received by a server that speaks SMTP from a script.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mlp_core::{
    Alert, AlertSink, AlertStatus, Labels, Notification, Severity, SinkError, Timestamp,
};
use mlp_monitor::{MailEncryption, MailOptions, MailSink};

/// Takes one conversation; answers the command that begins with `fails` with `answer`. Gives what the client said.
fn server(fails: &'static str, answer: &'static str) -> (u16, JoinHandle<String>) {
    slow_server(fails, answer, Duration::ZERO)
}

/// A connection, within a minute.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("nobody came: {error}"),
        }
    }
}

/// One that takes its time with each answer.
fn slow_server(
    fails: &'static str,
    answer: &'static str,
    pause: Duration,
) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, thread::spawn(move || converse(&listener, fails, answer, pause)))
}

/// Takes one conversation, and gives what the client said.
fn converse(listener: &TcpListener, fails: &str, answer: &str, pause: Duration) -> String {
    let stream = accept(listener);
    let mut output = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut heard = String::new();
    let mut say = |text: &str| {
        thread::sleep(pause);
        output.write_all(format!("{text}\r\n").as_bytes()).is_ok()
    };
    say("220 mail.example ESMTP");
    let mut in_data = false;
    while let Some(Ok(line)) = lines.next() {
        heard.push_str(&line);
        heard.push('\n');
        let reply = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => continue,
            _ if !fails.is_empty() && line.starts_with(fails) => answer,
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => {
                say("221 bye");
                break;
            }
            _ => "250 fine",
        };
        if !say(reply) {
            break;
        }
    }
    heard
}

fn notification(summary: &str) -> Notification {
    let labels: Labels =
        [("alertname".to_owned(), "down\r\nBcc: all@example.com".to_owned())].into();
    let alert = Alert {
        labels: labels.clone(),
        status: AlertStatus::Firing,
        severity: Severity::P0,
        summary: summary.to_owned(),
        runbook_url: "https://runbooks.example/down".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    };
    Notification {
        dedupe_key: "P0{}".to_owned(),
        group_labels: labels,
        status: AlertStatus::Firing,
        severity: Severity::P0,
        alerts: vec![alert],
    }
}

fn sink(port: u16) -> MailSink {
    sink_with(port, Duration::from_secs(30))
}

fn sink_with(port: u16, timeout: Duration) -> MailSink {
    let options =
        MailOptions::new("127.0.0.1").with_port(port).with_encryption(MailEncryption::None);
    let options = options.with_timeout(timeout);
    MailSink::new(options, "mlp <mlp@example.com>", ["kim@example.com", "Lee <lee@example.com>"])
        .unwrap()
}

#[test]
fn mail_reaches_every_receiver_and_a_label_adds_no_header() {
    let (port, server) = server("", "");
    let sink = sink(port);
    sink.deliver(&notification("error_rate is 0.02, above 0.01")).unwrap();
    drop(sink);
    let heard = server.join().unwrap();
    for expected in [
        "MAIL FROM:<mlp@example.com>",
        "RCPT TO:<kim@example.com>",
        "RCPT TO:<lee@example.com>",
        "Subject: [FIRING:1] P0 down  Bcc: all@example.com",
        "error_rate is 0.02, above 0.01",
        "What to do: https://runbooks.example/down",
        "References: <",
    ] {
        assert!(heard.contains(expected), "{expected} in {heard}");
    }
    assert!(
        !heard.lines().any(|line| line.starts_with("Bcc:") || line.contains("RCPT TO:<all@")),
        "{heard}"
    );
}

#[test]
fn what_the_server_refuses_for_good_is_refused_and_the_rest_is_tried_again() {
    let (port, refuses) = server("RCPT", "550 no such mailbox");
    match sink(port).deliver(&notification("x")) {
        Err(SinkError::Refused { reason }) => {
            assert!(reason.contains("no such mailbox"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    refuses.join().unwrap();
    let (port, later) = server("MAIL", "451 try again later");
    assert!(matches!(sink(port).deliver(&notification("x")), Err(SinkError::Retry { .. })));
    later.join().unwrap();
    // Nobody listens here.
    assert!(matches!(sink(1).deliver(&notification("x")), Err(SinkError::Retry { .. })));
    // A server that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let brief = sink_with(port, Duration::from_secs(1));
    assert!(matches!(brief.deliver(&notification("x")), Err(SinkError::Retry { .. })));
}

#[test]
fn one_mailbox_that_is_refused_keeps_the_mail_from_nobody_else_and_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = sink(listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        [("RCPT TO:<kim", "550 no such mailbox"), ("", "")]
            .map(|(fails, answer)| converse(&listener, fails, answer, Duration::ZERO))
    });
    sink.deliver(&notification("x is 0.02")).unwrap();
    let refused = sink.refused();
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["kim@example.com"]);
    assert!(refused["kim@example.com"].contains("no such mailbox"), "{refused:?}");
    // Once the mailbox is there again, nothing is held against it.
    sink.deliver(&notification("x is 0.03")).unwrap();
    assert!(sink.refused().is_empty());
    let [first, second] = server.join().unwrap();
    assert!(first.contains("RCPT TO:<lee@example.com>") && first.contains("x is 0.02"), "{first}");
    assert!(second.contains("x is 0.03"), "{second}");
}

#[test]
fn a_receiver_whom_the_server_takes_later_has_the_whole_mail_tried_again() {
    let (port, server) = server("RCPT TO:<lee", "450 greylisted");
    let result = sink(port).deliver(&notification("x"));
    assert!(matches!(result, Err(SinkError::Retry { .. })), "{result:?}");
    assert!(!server.join().unwrap().contains("DATA"), "nobody gets it twice");
}

#[test]
fn addresses_that_are_none_are_refused_and_the_password_is_not_shown() {
    let options = || MailOptions::new("127.0.0.1").with_credentials("kim", "geheim");
    assert!(MailSink::new(options(), "nobody", ["kim@example.com"]).is_err());
    assert!(
        MailSink::new(options(), "mlp@example.com", ["kim@example.com\r\nBcc: x@example.com"])
            .is_err()
    );
    assert!(MailSink::new(options(), "mlp@example.com", Vec::<String>::new()).is_err());
    let sink = MailSink::new(options(), "mlp@example.com", ["kim@example.com"]).unwrap();
    assert!(!format!("{sink:?} {:?}", options()).contains("geheim"));
}

#[test]
fn a_conversation_that_takes_too_long_in_all_is_ended_however_brief_each_answer_is() {
    let pause = Duration::from_millis(400);
    // Seven answers of 0.4 s each are within 1.5 s one by one; the fifth, without which no text is sent, is not within that in all.
    let ended = || {
        let (port, server) = slow_server("", "", pause);
        let start = Instant::now();
        let result = sink_with(port, Duration::from_millis(1_500)).deliver(&notification("x"));
        assert!(matches!(result, Err(SinkError::Retry { .. })), "{result:?}");
        assert!(start.elapsed() >= Duration::from_millis(1_200), "it had its time");
        server.join().unwrap()
    };
    // On a busy machine the time may be over before a word is said.
    let heard = (0..20).map(|_| ended()).find(|heard| heard.contains("EHLO"));
    let heard = heard.expect("a conversation that began");
    assert!(!heard.contains("DATA"), "{heard}");
    let (port, patient) = slow_server("", "", pause);
    sink_with(port, Duration::from_secs(60)).deliver(&notification("x")).unwrap();
    patient.join().unwrap();
}
