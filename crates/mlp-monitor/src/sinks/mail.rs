//! Mail.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use lettre::{Address, Message};
use mlp_core::{AlertSink, Notification, SinkError};
use parking_lot::Mutex;

use super::Secret;
use super::text::{cut, listed, own_labels, title, when};
use crate::alerts::Fingerprint;
use crate::error::{MonitorError, Result};

/// How the connection to the mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailEncryption {
    /// By TLS from the first byte (port 465).
    #[default]
    Tls,
    /// By STARTTLS, without which nothing is sent (port 587).
    StartTls,
    /// Not at all: for a relay on this machine.
    None,
}

/// The mail server, and whose mail it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailOptions {
    /// Name of the server.
    pub host: String,
    /// Its port; by default the usual one of the encryption, and 25 without.
    pub port: Option<u16>,
    /// How the connection is kept private.
    pub encryption: MailEncryption,
    /// User and password, where the server asks for them.
    pub credentials: Option<(String, Secret)>,
    /// For the whole conversation, from the connection on; the name look-up is the system's. Default 20 s.
    pub timeout: Duration,
}

impl MailOptions {
    /// A server that is spoken to by TLS.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: None,
            encryption: MailEncryption::Tls,
            credentials: None,
            timeout: Duration::from_secs(20),
        }
    }

    /// Sets the port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets how the connection is kept private.
    #[must_use]
    pub fn with_encryption(mut self, encryption: MailEncryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Sets user and password.
    #[must_use]
    pub fn with_credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<Secret>,
    ) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Sets how long a whole conversation may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Sends notifications as mail; those of one group form one thread. Each is one conversation with the server.
///
/// A receiver that the server refuses for good keeps the mail from none of the others: [`refused`](Self::refused) names it. One that it may take
/// later has the whole mail tried again, so that nobody gets it twice.
pub struct MailSink {
    host: String,
    port: u16,
    encryption: MailEncryption,
    tls: TlsParameters,
    credentials: Option<Credentials>,
    timeout: Duration,
    from: Mailbox,
    to: Vec<Mailbox>,
    refused: Mutex<BTreeMap<String, String>>,
}

impl std::fmt::Debug for MailSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, from, to, .. } = self;
        f.debug_struct("MailSink")
            .field("host", host)
            .field("from", from)
            .field("to", to)
            .finish_non_exhaustive()
    }
}

impl MailSink {
    /// A sink that mails from one address to others, written as `name@host` or `Name <name@host>`.
    ///
    /// # Errors
    /// If an address cannot be read, there is no receiver, or the name of the server is none.
    pub fn new<A: AsRef<str>>(
        options: MailOptions,
        from: &str,
        to: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                MonitorError::setting(
                    "mail address",
                    cut(text, 100),
                    "name@host or Name <name@host>",
                )
            })
        };
        let to =
            to.into_iter().map(|address| mailbox(address.as_ref())).collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            return Err(MonitorError::setting("receivers of mail", "none", "at least one"));
        }
        if options.timeout.is_zero() {
            return Err(MonitorError::setting("timeout of mail", "0 s", "above 0"));
        }
        let allowed = "the name of a host";
        let tls = TlsParameters::new(options.host.clone())
            .map_err(|_| MonitorError::setting("mail server", &options.host, allowed))?;
        let usual = match options.encryption {
            MailEncryption::Tls => SUBMISSIONS_PORT,
            MailEncryption::StartTls => SUBMISSION_PORT,
            MailEncryption::None => SMTP_PORT,
        };
        let credentials = options
            .credentials
            .map(|(user, password)| Credentials::new(user, password.reveal().to_owned()));
        Ok(Self {
            host: options.host,
            port: options.port.unwrap_or(usual),
            encryption: options.encryption,
            tls,
            credentials,
            timeout: options.timeout,
            from: mailbox(from)?,
            to,
            refused: Mutex::default(),
        })
    }

    /// The receivers that the server refused for good when it was last asked, and what it said. If it refuses all, the notification is one
    /// that is never delivered.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, String> {
        self.refused.lock().clone()
    }

    /// One conversation with the server, each step of which has only the time that is left.
    fn send(&self, message: &Message) -> std::result::Result<(), SinkError> {
        let clock = Budget { start: Instant::now(), whole: self.timeout };
        let (server, hello) = ((self.host.as_str(), self.port), ClientId::default());
        let wrapped = Some(&self.tls).filter(|_| self.encryption == MailEncryption::Tls);
        let connection =
            SmtpConnection::connect(server, Some(clock.left()?), &hello, wrapped, None);
        let mut connection = connection.map_err(meaning)?;
        if self.encryption == MailEncryption::StartTls {
            clock.give(&mut connection)?;
            connection.starttls(&self.tls, &hello).map_err(meaning)?;
        }
        if let Some(credentials) = &self.credentials {
            clock.give(&mut connection)?;
            connection.auth(DEFAULT_MECHANISMS, credentials).map_err(meaning)?;
        }
        let (envelope, text) = (message.envelope(), message.formatted());
        let plain = |address: &Address| address.to_string().is_ascii();
        let mut parameters = Vec::new();
        if !text.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if !envelope.to().iter().chain(envelope.from()).all(plain) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        clock.give(&mut connection)?;
        connection.command(Mail::new(envelope.from().cloned(), parameters)).map_err(meaning)?;
        self.name_receivers(envelope.to(), &clock, &mut connection)?;
        clock.give(&mut connection)?;
        connection.command(Data).map_err(meaning)?;
        clock.give(&mut connection)?;
        connection.message(&text).map_err(meaning)?;
        // The mail is taken, whatever the server says to the farewell.
        if clock.give(&mut connection).is_ok() {
            connection.quit().ok();
        }
        Ok(())
    }

    /// Tells the server who is to get the mail; that is refused if nobody is left.
    fn name_receivers(
        &self,
        receivers: &[Address],
        clock: &Budget,
        connection: &mut SmtpConnection,
    ) -> std::result::Result<(), SinkError> {
        let mut refused = BTreeMap::new();
        let mut taken = false;
        for to in receivers {
            clock.give(connection)?;
            match connection.command(Rcpt::new(to.clone(), Vec::new())).map_err(meaning) {
                Ok(_) => taken = true,
                Err(SinkError::Refused { reason }) => {
                    refused.insert(to.to_string(), reason);
                }
                Err(error) => return Err(error),
            }
        }
        let reasons: Vec<_> = refused.iter().map(|(to, why)| format!("{to}: {why}")).collect();
        *self.refused.lock() = refused;
        if taken { Ok(()) } else { Err(SinkError::Refused { reason: reasons.join("; ") }) }
    }

    fn message(&self, notification: &Notification) -> std::result::Result<Message, SinkError> {
        let addressed = |builder: MessageBuilder| {
            self.to.iter().fold(builder, |builder, to| builder.to(to.clone()))
        };
        // No message has this id: mail programs put all that refer to it into one thread.
        let key = [("thread".to_owned(), notification.dedupe_key.clone())].into();
        let thread = format!("<{}@mlp>", Fingerprint::of(&key));
        addressed(Message::builder().from(self.from.clone()))
            .subject(title(notification))
            .references(thread)
            .body(body(notification))
            .map_err(|error| SinkError::Refused { reason: error.to_string() })
    }
}

/// The time of a conversation.
struct Budget {
    start: Instant,
    whole: Duration,
}

impl Budget {
    /// What is left of it.
    fn left(&self) -> std::result::Result<Duration, SinkError> {
        let left = self.whole.saturating_sub(self.start.elapsed());
        let reason = || format!("the conversation took longer than {:?}", self.whole);
        match left.is_zero() {
            true => Err(SinkError::Retry { after: None, source: reason().into() }),
            false => Ok(left),
        }
    }

    /// Lets the next step take no longer.
    fn give(&self, connection: &mut SmtpConnection) -> std::result::Result<(), SinkError> {
        connection
            .set_timeout(Some(self.left()?))
            .map_err(|error| SinkError::Retry { after: None, source: error.into() })
    }
}

fn meaning(error: lettre::transport::smtp::Error) -> SinkError {
    if error.is_permanent() {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        return SinkError::Refused { reason: format!("{error} {source}") };
    }
    SinkError::Retry { after: None, source: error.into() }
}

impl AlertSink for MailSink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.send(&self.message(notification)?)
    }
}

fn body(notification: &Notification) -> String {
    let (alerts, more) = listed(notification);
    let mut text = format!("{}\n", title(notification));
    for alert in alerts {
        text.push_str(&format!(
            "\n{} {}\n  {}\n  {}\n  What to do: {}\n",
            alert.severity,
            own_labels(alert, notification),
            alert.summary,
            when(alert),
            alert.runbook_url
        ));
    }
    if more > 0 {
        text.push_str(&format!("\nand {more} more\n"));
    }
    text
}
