//! Against the real programs: Alertmanager and promtool. They run only where `MLP_TEST_SERVERS` is set.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mlp_core::{Alert, AlertSink, AlertStatus, Labels, Notification, Severity, Timestamp};
use mlp_monitor::{AlertmanagerSink, HttpOptions};
use serde_json::{Value, json};

/// Whether the tests of this file are asked for.
pub(crate) fn asked_for() -> bool {
    let asked = std::env::var_os("MLP_TEST_SERVERS").is_some();
    if !asked {
        eprintln!(
            "not run: set MLP_TEST_SERVERS=1, with Debian's prometheus-alertmanager and prometheus installed"
        );
    }
    asked
}

/// The first of these programs that there is.
fn program(names: &[&'static str]) -> &'static str {
    let there = |name: &&&str| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    names.iter().find(there).unwrap_or_else(|| panic!("none of {names:?} is installed"))
}

/// An Alertmanager of our own on loopback, in a temporary folder.
struct Alertmanager {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        std::fs::write(&config, "route:\n  receiver: none\nreceivers:\n  - name: none\n").unwrap();
        let mut process = Command::new(program(&["prometheus-alertmanager", "alertmanager"]))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, ports) = std::sync::mpsc::channel();
        // Read to its end, so that the program is never held up by a full pipe.
        std::thread::spawn(move || {
            for line in
                log.lines().map_while(Result::ok).filter(|line| line.contains("Listening on"))
            {
                let address = line.split("127.0.0.1:").nth(1).unwrap_or_default();
                let port: String = address.chars().take_while(char::is_ascii_digit).collect();
                sender.send(port.parse::<u16>()).ok();
            }
        });
        let port = ports.recv_timeout(Duration::from_secs(60));
        let port = port.expect("Alertmanager says where it listens").expect("a port");
        let alertmanager = Self { process, port, _folder: folder };
        alertmanager.wait_for("it is ready", |it| it.try_request("GET", "/-/ready", "").is_some());
        alertmanager
    }

    fn try_request(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let limit = Some(Duration::from_secs(60));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(limit).ok()?;
        stream.set_write_timeout(limit).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn alerts(&self) -> Vec<Value> {
        let text = self.try_request("GET", "/api/v2/alerts", "").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn notification(status: AlertStatus) -> Notification {
    let now = Timestamp::from(std::time::SystemTime::now());
    let labels: Labels = [("alertname", "drift"), ("model", "wein \"rot\"\n<&>")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let alert = Alert {
        labels: labels.clone(),
        status,
        severity: Severity::P1,
        summary: "psi is 0.4, above 0.2".to_owned(),
        runbook_url: "https://runbooks.example/drift".to_owned(),
        starts_at: now.before(Duration::from_secs(60)),
        ends_at: (status == AlertStatus::Resolved).then_some(now),
    };
    Notification {
        dedupe_key: "P1{}".to_owned(),
        group_labels: labels,
        status,
        severity: Severity::P1,
        alerts: vec![alert],
    }
}

#[test]
fn alertmanager_takes_an_alert_gives_it_back_mutes_it_and_forgets_it_when_it_is_over() {
    if !asked_for() {
        return;
    }
    let alertmanager = Alertmanager::start();
    assert_eq!(alertmanager.alerts(), Vec::<Value>::new());
    let url = format!("http://127.0.0.1:{}", alertmanager.port);
    let sink = AlertmanagerSink::new(&url, HttpOptions::default()).unwrap();
    let firing = notification(AlertStatus::Firing);
    sink.deliver(&firing).unwrap();
    alertmanager.wait_for("the alert is there", |it| !it.alerts().is_empty());
    let alert = alertmanager.alerts().remove(0);
    assert_eq!(alert["labels"], json!(firing.alerts[0].labels));
    assert_eq!(alert["annotations"]["summary"], "psi is 0.4, above 0.2");
    assert_eq!(alert["annotations"]["severity"], "P1");
    assert_eq!(alert["status"]["state"], "active");
    let fingerprint = mlp_monitor::Fingerprint::of(&firing.alerts[0].labels).to_string();
    assert_eq!(alert["fingerprint"], json!(fingerprint), "both tell alerts apart alike");
    // Sent again it is the same alert.
    sink.deliver(&firing).unwrap();
    assert_eq!(alertmanager.alerts().len(), 1);

    let now = Timestamp::from(std::time::SystemTime::now());
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "drift", "isRegex": false, "isEqual": true}],
        "startsAt": now, "endsAt": now.after(Duration::from_secs(600)), "createdBy": "kim", "comment": "known",
    });
    alertmanager.try_request("POST", "/api/v2/silences", &silence.to_string()).unwrap();
    alertmanager
        .wait_for("the alert is muted", |it| it.alerts()[0]["status"]["state"] == "suppressed");

    sink.deliver(&notification(AlertStatus::Resolved)).unwrap();
    alertmanager.wait_for("the alert is gone", |it| it.alerts().is_empty());
}

#[test]
fn promtool_finds_nothing_to_complain_about_in_the_exposition() {
    if !asked_for() {
        return;
    }
    let check = |text: &str| {
        let mut process = Command::new(program(&["promtool"]))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&crate::exposition::sample());
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (code, said) = check("# TYPE a counter\na 1\n");
    assert_ne!(code, Some(0), "the control: {said}");
}
