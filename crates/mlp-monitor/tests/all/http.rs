//! Sinks that speak HTTP, against servers that misbehave.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::{
    Alert, AlertSink, AlertStatus, Labels, ManualClock, Notification, Severity, SinkError,
    Timestamp,
};
use mlp_monitor::{
    AlertConfig, AlertManager, AlertRoute, AlertmanagerSink, HttpOptions, MemorySink,
    PagerDutySink, SinkSettings, SlackSink, WebhookSink,
};
use serde_json::Value;

use crate::scripted::{Reply, Server};

const SECOND: Duration = Duration::from_secs(1);

fn alert(name: &str, severity: Severity, status: AlertStatus) -> Alert {
    Alert {
        labels: [("alertname".to_owned(), name.to_owned())].into(),
        status,
        severity,
        summary: format!("{name} <!channel> & <https://evil|here>"),
        runbook_url: "https://runbooks.example/it".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    }
}

fn notification() -> Notification {
    Notification {
        dedupe_key: "P0{alertname=\"down\"}".to_owned(),
        group_labels: Labels::new(),
        status: AlertStatus::Firing,
        severity: Severity::P0,
        alerts: vec![alert("down", Severity::P0, AlertStatus::Firing)],
    }
}

/// Long enough for a machine that has much else to do.
fn options() -> HttpOptions {
    HttpOptions::default().with_timeout(30 * SECOND)
}

fn deliver(server: &Server) -> Result<(), SinkError> {
    WebhookSink::new(&server.url(), options()).unwrap().deliver(&notification())
}

fn raw(text: &str) -> Reply {
    Reply::Raw(text.replace('\n', "\r\n"))
}

#[test]
fn what_is_taken_is_delivered_whatever_else_the_answer_says() {
    for reply in [
        Reply::Status("200 OK"),
        Reply::Status("202 Accepted"),
        Reply::Status("204 No Content"),
        raw("HTTP/1.1 200 OK\nContent-Length: 1000000\n\nhalf an ans"),
    ] {
        deliver(&Server::new([reply])).unwrap();
    }
}

#[test]
fn server_errors_and_429_are_tried_again_and_retry_after_is_heard() {
    for (reply, expected) in [
        (Reply::Status("500 Internal Server Error"), None),
        (Reply::Status("503 Service Unavailable"), None),
        (Reply::Status("408 Request Timeout"), None),
        (Reply::Status("429 Too Many Requests\r\nRetry-After: 120"), Some(120 * SECOND)),
        (
            Reply::Status("503 Busy\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
            Some(Duration::ZERO),
        ),
        (Reply::Status("429 Slow\r\nRetry-After: some day"), None),
    ] {
        match deliver(&Server::new([reply.clone()])) {
            Err(SinkError::Retry { after, .. }) => assert_eq!(after, expected, "{reply:?}"),
            other => panic!("{reply:?}: {other:?}"),
        }
    }
}

#[test]
fn refusals_are_not_tried_again_and_say_why() {
    let refused = |reply: Reply| match deliver(&Server::new([reply])) {
        Err(SinkError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let reason = refused(raw("HTTP/1.1 400 Bad Request\nContent-Length: 13\n\nno such field"));
    assert_eq!(reason, "the receiver answered 400: no such field");
    for status in
        ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone", "413 Too Large"]
    {
        assert!(refused(Reply::Status(status)).contains(&status[..3]));
    }
    for (length, sent, kept) in
        [(1_000_000, 1_000_000, 300), (301, 301, 300), (300, 300, 300), (1_000_000, 20, 20)]
    {
        let text = "x".repeat(sent);
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n");
        let expected = format!("the receiver answered 400: {}", &text[..kept]);
        assert_eq!(refused(Reply::Raw(head + &text)), expected, "cut, and not lost");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let inner = Server::new([Reply::Status("200 OK")]);
    let status = format!(
        "HTTP/1.1 307 Temporary Redirect\nLocation: {}\nContent-Length: 0\n\n",
        inner.url()
    );
    let outer = Server::new([raw(&status)]);
    assert!(matches!(deliver(&outer), Err(SinkError::Refused { .. })));
    assert!(inner.requests.is_empty(), "nobody was sent there");
    let server = Server::with(|address| {
        let around =
            format!("HTTP/1.1 302 Found\nLocation: http://{address}/hook\nContent-Length: 0\n\n");
        vec![raw(&around)]
    });
    assert!(matches!(deliver(&server), Err(SinkError::Refused { .. })));
    assert_eq!(server.requests.len(), 1, "a loop is one request");
}

#[test]
fn a_black_hole_a_dead_port_and_half_an_answer_are_tried_again_within_the_timeout() {
    let servers = [
        Server::new([Reply::Silence]),
        Server::new([Reply::HangUp]),
        Server::new([raw("HTTP/1.1 2")]),
        Server::new([raw("not http at all\n\n")]),
        Server::new([raw(&format!("HTTP/1.1 200 OK\nX: {}\n\n", "x".repeat(100_000)))]),
    ];
    // No certificate, no TLS at all.
    let plain = Server::new([raw("HTTP/1.1 200 OK\n\n")]);
    let mut urls: Vec<String> = servers.iter().map(Server::url).collect();
    // Nobody listens here.
    urls.push("http://127.0.0.1:1/hook".to_owned());
    urls.push(plain.url().replace("http:", "https:"));
    urls.push("http://name.invalid/hook".to_owned());
    for url in urls {
        let start = Instant::now();
        let brief = options().with_timeout(SECOND);
        let result = WebhookSink::new(&url, brief).unwrap().deliver(&notification());
        let Err(SinkError::Retry { source, .. }) = result else { panic!("{url}: {result:?}") };
        assert!(start.elapsed() < 20 * SECOND, "{url}");
        assert!(!source.to_string().contains("/hook"), "the address is a secret: {source}");
    }
}

#[test]
fn an_address_in_a_private_network_is_not_called_if_only_public_ones_may() {
    let server = Server::new([Reply::Status("200 OK")]);
    let port = server.address.port();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0.0.0.0"]
    {
        let url = format!("http://{host}:{port}/hook");
        // What is no address to the resolver is not called either.
        let Ok(sink) = WebhookSink::new(&url, options().public_only()) else { continue };
        assert!(sink.deliver(&notification()).is_err(), "{host}");
    }
    assert!(server.requests.is_empty());
    deliver(&server).unwrap();
    assert_eq!(server.requests.len(), 1, "the control: without the option it is called");
}

#[test]
fn each_sink_posts_json_and_shows_its_secrets_to_nobody_else() {
    let server = Server::new([Reply::Status("200 OK")]);
    let url = server.url();
    let secret = options().with_bearer("t0ken");
    let sinks: [(&str, Arc<dyn AlertSink>); 4] = [
        ("version", Arc::new(WebhookSink::new(&url, secret).unwrap())),
        ("blocks", Arc::new(SlackSink::new(&url, options()).unwrap())),
        ("routing_key", Arc::new(PagerDutySink::at(&url, "t0ken", options()).unwrap())),
        (
            "",
            Arc::new(
                AlertmanagerSink::new(&format!("http://{}", server.address), options()).unwrap(),
            ),
        ),
    ];
    for (field, sink) in sinks {
        sink.deliver(&notification()).unwrap();
        let request = server.requests.recv_timeout(60 * SECOND).unwrap();
        let head = request.head.to_lowercase();
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(&request.body).unwrap();
        match field {
            "" => {
                assert!(head.starts_with("post /api/v2/alerts "), "{head}");
                assert_eq!(body[0]["labels"]["alertname"], "down");
            }
            _ => assert!(body.get(field).is_some(), "{body}"),
        }
        assert_eq!(head.contains("authorization: bearer t0ken"), field == "version");
        let shown = format!("{sink:?}");
        assert!(!shown.contains("t0ken") && !shown.contains("/hook"), "{shown}");
        if field == "blocks" {
            let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
            assert!(!text.contains("<!channel>") && text.contains("&lt;!channel&gt;"), "{text}");
        }
    }
}

#[test]
fn a_sink_that_is_down_hears_everything_once_it_is_up_with_the_same_key() {
    let replies = [Reply::HangUp, Reply::Status("500 Not Yet"), Reply::Status("200 OK")];
    let server = Server::new(replies);
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (hook, log) =
        (WebhookSink::new(&server.url(), options()).unwrap(), Arc::new(MemorySink::new()));
    let sinks: [(&str, Arc<dyn AlertSink>); 2] = [("hook", Arc::new(hook)), ("log", log.clone())];
    let config = AlertConfig::new("log").with_route(AlertRoute::of(Severity::P0, ["hook", "log"]));
    // A call is given up by the clock of the test, which only the test moves.
    let config = config.with_sink("hook", SinkSettings::default().with_timeout(600 * SECOND));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    manager.update(alert("down", Severity::P0, AlertStatus::Firing)).unwrap();
    assert!(manager.flush(60 * SECOND));
    assert_eq!((manager.sinks()["hook"].failed, log.take().len()), (1, 1));
    for _ in 0..4 {
        clock.advance(60 * SECOND);
        manager.tick();
        assert!(manager.flush(60 * SECOND));
    }
    let status = &manager.sinks()["hook"];
    assert_eq!((status.failed, status.delivered, status.waiting), (2, 1, 0), "{status:?}");
    let keys: Vec<Value> = server
        .requests
        .try_iter()
        .map(|request| serde_json::from_str::<Value>(&request.body).unwrap()["groupKey"].clone())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

/// Set for a process that calls the server named in it through a proxy that the environment names.
const BEHIND_A_PROXY: &str = "MLP_TEST_BEHIND_A_PROXY";

#[test]
fn a_proxy_of_the_environment_does_not_open_private_networks() {
    if let Ok(url) = std::env::var(BEHIND_A_PROXY) {
        let sink = |options: HttpOptions| WebhookSink::new(&url, options).unwrap();
        assert!(sink(options().public_only()).deliver(&notification()).is_err());
        // The control: without the option the proxy is asked for a tunnel, which it then closes.
        assert!(sink(options()).deliver(&notification()).is_err());
        return;
    }
    let (target, proxy) =
        (Server::new([Reply::Status("200 OK")]), Server::new([Reply::Status("200 OK")]));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::a_proxy_of_the_environment_does_not_open_private_networks"])
        .env(BEHIND_A_PROXY, target.url())
        .env("HTTP_PROXY", format!("http://{}", proxy.address))
        .env("http_proxy", format!("http://{}", proxy.address))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "it ran");
    assert_eq!((target.requests.len(), proxy.requests.len()), (0, 1));
}
